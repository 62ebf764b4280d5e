#include "base/cgroup.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "qgalore/base.h"

enum { PATH_BYTES = 4096 };

/* "max" and files that are not there are no limit. */
static size_t read_limit(const char *folder, const char *file)
{
  char path[PATH_BYTES + 64];
  unsigned long long bytes;
  snprintf(path, sizeof path, "%s/%s", folder, file);
  FILE *stream = fopen(path, "r");
  if (!stream) return SIZE_MAX;
  bool number = fscanf(stream, "%llu", &bytes) == 1;
  fclose(stream);
  return number ? (size_t)bytes : SIZE_MAX;
}

/* Of a group and all above it; what lies above `mount` is not ours to see. */
static size_t least_upwards(const char *mount, const char *group, const char *file)
{
  char folder[PATH_BYTES];
  size_t least = SIZE_MAX, top = strlen(mount);
  snprintf(folder, sizeof folder, "%s%s", mount, group);
  for (char *slash = folder + strlen(folder); slash; slash = strrchr(folder, '/')) {
    *slash = '\0';
    if (strlen(folder) < top) break;
    least = qg_min_size(least, read_limit(folder, file));
  }
  return least;
}

/* A line is "0::GROUP" in version 2 and "NUMBER:CONTROLLER,...:GROUP" in version 1. */
static size_t limit_of_line(const char *line, const char *mount)
{
  char controllers[256] = "", group[PATH_BYTES / 2], version_1[PATH_BYTES / 2];
  if (sscanf(line, "0::%2047s", group) == 1) return least_upwards(mount, group, "memory.max");
  if (sscanf(line, "%*d:%255[^:]:%2047s", controllers, group) != 2 || !strstr(controllers, "memory"))
    return SIZE_MAX;
  snprintf(version_1, sizeof version_1, "%s/memory", mount);
  return least_upwards(version_1, group, "memory.limit_in_bytes");
}

size_t qg_cgroup_memory_limit(const char *membership, const char *mount)
{
  char line[PATH_BYTES];
  size_t least = SIZE_MAX;
  FILE *file = fopen(membership, "r");
  while (file && fgets(line, sizeof line, file)) least = qg_min_size(least, limit_of_line(line, mount));
  if (file) fclose(file);
  return least;
}
