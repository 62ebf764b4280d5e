#include "qgalore/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "qgalore/base.h"

qg_log qg_log_make(FILE *out, bool root)
{
  return (qg_log){.out = root ? out : NULL, .terminal = root && out && isatty(fileno(out))};
}

void qg_log_open_file(qg_log *log, const char *path)
{
  char when[32];
  if (!log->out) return;
  log->file = fopen(path, "ae");
  if (!log->file) {
    qg_log_warn(log, "cannot write %s: %s; the log is printed alone", path, strerror(errno));
    return;
  }
  qg_log_file_only(log, "--- %s, process %d", qg_format_utc(when, sizeof when, time(NULL)), (int)getpid());
}

void qg_log_close_file(qg_log *log)
{
  if (log->file) fclose(log->file);
  log->file = NULL;
}

/* A job that is killed has said everything it had to say. Readers that went away and full disks do no harm.
 */
__attribute__((format(printf, 4, 0))) static void write_text(FILE *out, const char *prefix, const char *end,
                                                             const char *fmt, va_list args)
{
  va_list copy;
  if (!out) return;
  va_copy(copy, args);
  fputs(prefix, out);
  vfprintf(out, fmt, copy);
  fputs(end, out);
  fflush(out);
  va_end(copy);
}

__attribute__((format(printf, 4, 0))) static void write_both(const qg_log *log, const char *prefix,
                                                             const char *end, const char *fmt, va_list args)
{
  write_text(log->out, prefix, end, fmt, args);
  write_text(log->file, prefix, end, fmt, args);
}

void qg_log_info(const qg_log *log, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  write_both(log, "", "\n", fmt, args);
  va_end(args);
}

void qg_log_warn(const qg_log *log, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  write_both(log, "warning: ", "\n", fmt, args);
  va_end(args);
}

void qg_log_raw(const qg_log *log, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  write_both(log, "", "", fmt, args);
  va_end(args);
}

void qg_log_terminal(const qg_log *log, const char *fmt, ...)
{
  va_list args;
  if (!log->terminal) return;
  va_start(args, fmt);
  write_text(log->out, "", "", fmt, args);
  va_end(args);
}

void qg_log_file_only(const qg_log *log, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  write_text(log->file, "", "\n", fmt, args);
  va_end(args);
}
