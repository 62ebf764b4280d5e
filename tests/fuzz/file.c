#include <stdlib.h>
#include <unistd.h>

#include "fuzz/reader.h"

static char path[] = "/dev/shm/qgalore-fuzz-XXXXXX";
static int file = -1;

static void remove_file(void)
{
  unlink(path);
}

/* HDF5 asks for the real path, so a file without a name does not do. */
const char *qg_fuzz_file(const uint8_t *data, size_t size)
{
  if (file < 0) {
    file = mkstemp(path);
    if (file < 0) return NULL;
    atexit(remove_file);
  }
  if (ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != (ssize_t)size) return NULL;
  return path;
}
