#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/reader.h"

static char folder[] = "/dev/shm/qgalore-fuzz-XXXXXX", path[64];
static int file = -1;

static void remove_folder(void)
{
  char command[64];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (system(command) != 0) fprintf(stderr, "%s is left\n", folder);
}

static bool make_folder(void)
{
  char command[96];
  if (!mkdtemp(folder) || atexit(remove_folder) != 0) return false;
  snprintf(command, sizeof command, "cp tests/fuzz/parts/* %s", folder);
  return system(command) == 0;
}

/* HDF5 asks for the real path, so a file without a name does not do. */
static int open_file(void)
{
  if (!make_folder()) return -1;
  snprintf(path, sizeof path, "%s/file.h5-XXXXXX", folder);
  return mkstemp(path);
}

const char *qg_fuzz_file(const uint8_t *data, size_t size)
{
  if (file < 0) file = open_file();
  if (file < 0 || ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != (ssize_t)size) return NULL;
  return path;
}
