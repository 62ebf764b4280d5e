#include "config/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void qg_problems_add(qg_problems *problems, const char *origin, const char *fmt, ...)
{
  char what[768], line[1024];
  va_list args;
  va_start(args, fmt);
  vsnprintf(what, sizeof what, fmt, args);
  va_end(args);
  snprintf(line, sizeof line, "%s: %s", origin, what);
  size_t length = strlen(line);
  problems->count++;
  if (problems->left_out || problems->used + length + 2 > sizeof problems->text) {
    problems->left_out++;
    return;
  }
  if (problems->used) problems->text[problems->used++] = '\n';
  memcpy(problems->text + problems->used, line, length + 1);
  problems->used += length;
}

qg_status qg_problems_raise(const qg_problems *problems, qg_status code)
{
  if (problems->count == 0) return QG_OK;
  if (problems->left_out)
    return QG_FAIL(code, "%s\nand %d more; correct these first", problems->text, problems->left_out);
  return QG_FAIL(code, "%s", problems->text);
}
