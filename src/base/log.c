#include "qgalore/base/log.h"

#include <stdarg.h>
#include <unistd.h>

qg_log qg_log_make(FILE *out, bool root)
{
  qg_log log = {root ? out : NULL, root && out && isatty(fileno(out))};
  return log;
}

__attribute__((format(printf, 3, 0))) static void write_line(const qg_log *log, const char *prefix,
                                                             const char *fmt, va_list args)
{
  if (!log->out) return;
  fputs(prefix, log->out);
  vfprintf(log->out, fmt, args);
  fputc('\n', log->out);
  /* A job that is killed has said everything it had to say. */
  fflush(log->out);
}

void qg_log_info(const qg_log *log, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  write_line(log, "", fmt, args);
  va_end(args);
}

void qg_log_warn(const qg_log *log, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  write_line(log, "warning: ", fmt, args);
  va_end(args);
}

void qg_log_raw(const qg_log *log, const char *fmt, ...)
{
  if (!log->out) return;
  va_list args;
  va_start(args, fmt);
  vfprintf(log->out, fmt, args);
  va_end(args);
  fflush(log->out);
}
