#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cgroup.h"
#include "qgalore/base.h"

/* The value of one "Name:   123 kB" line of a file, in bytes; `unknown` without it. */
static size_t read_line(const char *path, const char *name, size_t unknown)
{
  FILE *file = fopen(path, "r");
  if (!file) return unknown;
  char line[256];
  size_t bytes = unknown, kib, length = strlen(name);
  while (bytes == unknown && fgets(line, sizeof line, file))
    if (strncmp(line, name, length) == 0 && sscanf(line + length, ": %zu", &kib) == 1) bytes = 1024 * kib;
  fclose(file);
  return bytes;
}

size_t qg_memory_resident(void)
{
  return read_line("/proc/self/status", "VmRSS", 0);
}

size_t qg_memory_peak(void)
{
  return read_line("/proc/self/status", "VmHWM", 0);
}

size_t qg_memory_limit(void)
{
  return qg_min_size(read_line("/proc/meminfo", "MemTotal", SIZE_MAX),
                     qg_cgroup_memory_limit("/proc/self/cgroup", "/sys/fs/cgroup"));
}

size_t qg_memory_available(void)
{
  return read_line("/proc/meminfo", "MemAvailable", SIZE_MAX);
}
