#include "qgalore/base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 2048, TRACE_BYTES = 4096 };

static _Thread_local char message[MESSAGE_BYTES];
static _Thread_local char trace[TRACE_BYTES];

qg_status qg_error_raise(qg_status code, const char *file, int line, const char *func, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  vsnprintf(message, sizeof message, fmt, args);
  va_end(args);
  trace[0] = '\0';
  return qg_error_frame(code, file, line, func);
}

qg_status qg_error_frame(qg_status status, const char *file, int line, const char *func)
{
  size_t used = strlen(trace);
  snprintf(trace + used, sizeof trace - used, "  at %s (%s:%d)\n", func, file, line);
  return status;
}

const char *qg_error_message(void)
{
  return message;
}

const char *qg_error_trace(void)
{
  return trace;
}

void qg_error_clear(void)
{
  message[0] = '\0';
  trace[0] = '\0';
}

qg_status qg_error_adopt(qg_status code, const char *text)
{
  snprintf(message, sizeof message, "%s", text);
  trace[0] = '\0';
  return code;
}
