#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/reader.h"

static char folder[] = "/dev/shm/qgalore-fuzz-XXXXXX", path[64];

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
  snprintf(command, sizeof command, "cp tests/fuzz/rank_files/* %s", folder);
  return system(command) == 0;
}

/* HDF5 asks for the real path, so a file without a name does not do. It knows files by their inode, and what
 * a hostile one has left open must not be taken for the next one. */
static int open_file(void)
{
  static bool made;
  if (!made) made = make_folder();
  snprintf(path, sizeof path, "%s/file.h5", folder);
  unlink(path);
  return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

const char *qg_fuzz_file(const uint8_t *data, size_t size)
{
  int file = open_file();
  bool written = file >= 0 && write(file, data, size) == (ssize_t)size;
  if (file >= 0) close(file);
  return written ? path : NULL;
}
