#include "qgalore/base/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

bool qg_fault_is_injected(const char *point)
{
  /* One counter is enough, because the variable names one point. */
  static atomic_long passages;
  const char *wanted = getenv("QGALORE_FAULT");
  size_t length = strlen(point);
  if (!wanted || strncmp(wanted, point, length) != 0) return false;
  if (wanted[length] != '\0' && wanted[length] != ':') return false;
  long passage = wanted[length] == ':' ? strtol(wanted + length + 1, NULL, 10) : 1;
  return atomic_fetch_add(&passages, 1) + 1 == passage;
}

bool qg_fault_is_injected_at(const char *point, int64_t number)
{
  const char *wanted = getenv("QGALORE_FAULT");
  size_t length = strlen(point);
  if (!wanted || strncmp(wanted, point, length) != 0 || wanted[length] != '@') return false;
  const char *at = wanted + length;
  while (*at == '@' || *at == ',') {
    char *end;
    if (strtoll(at + 1, &end, 10) == number) return true;
    at = end;
  }
  return false;
}

void qg_fault(const char *point)
{
  if (qg_fault_is_injected(point)) raise(SIGKILL);
}
