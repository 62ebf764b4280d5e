#include "data/int_file.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int open_unnamed(const char *path)
{
  char *name = NULL;
  if (asprintf(&name, "%s.XXXXXX", path) < 0) return -1;
  int fd = mkostemp(name, O_CLOEXEC);
  if (fd >= 0) unlink(name);
  free(name);
  return fd;
}

qg_status qg_int_file_open(qg_int_file *ints, const char *path, size_t width)
{
  int fd = open_unnamed(path);
  *ints = (qg_int_file){.file = fd >= 0 ? fdopen(fd, "w+b") : NULL, .width = width};
  int reason = errno;
  if (!ints->file && fd >= 0) close(fd);
  QG_CHECK(ints->file, QG_ERR_RESOURCE, "cannot write beside %s: %s", path, strerror(reason));
  return QG_OK;
}

qg_status qg_int_file_append(qg_int_file *ints, uint64_t value)
{
  /* The low bytes of a little-endian number are the number in every narrower width. */
  uint64_t bytes = htole64(value);
  QG_CHECK(fwrite(&bytes, ints->width, 1, ints->file) == 1, QG_ERR_RESOURCE,
           "cannot write a temporary file: %s", strerror(errno));
  ints->count++;
  return QG_OK;
}

qg_status qg_int_file_rewind(qg_int_file *ints)
{
  QG_CHECK(fflush(ints->file) == 0 && fseeko(ints->file, 0, SEEK_SET) == 0, QG_ERR_RESOURCE,
           "cannot write a temporary file: %s", strerror(errno));
  return QG_OK;
}

qg_status qg_int_file_read(qg_int_file *ints, int64_t count, void *out)
{
  QG_CHECK(fread(out, ints->width, (size_t)count, ints->file) == (size_t)count, QG_ERR_RESOURCE,
           "cannot read a temporary file back: %s", strerror(errno));
  return QG_OK;
}

void qg_int_file_close(qg_int_file *ints)
{
  if (ints->file) fclose(ints->file);
  ints->file = NULL;
}
