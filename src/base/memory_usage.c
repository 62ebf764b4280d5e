#include <stdio.h>
#include <string.h>

#include "qgalore/base.h"

/* The value of one "Name:   123 kB" line of /proc/self/status, in bytes. */
static size_t read_status_line(const char *name)
{
  FILE *file = fopen("/proc/self/status", "r");
  if (!file) return 0;
  char line[256];
  size_t kib = 0, length = strlen(name);
  while (fgets(line, sizeof line, file))
    if (strncmp(line, name, length) == 0 && sscanf(line + length, ": %zu", &kib) == 1) break;
  fclose(file);
  return 1024 * kib;
}

size_t qg_memory_resident(void)
{
  return read_status_line("VmRSS");
}

size_t qg_memory_peak(void)
{
  return read_status_line("VmHWM");
}
