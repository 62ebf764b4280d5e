#include "data/spool.h"

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

qg_status qg_spool_open(qg_spool *spool, const char *path, size_t width)
{
  int fd = open_unnamed(path);
  *spool = (qg_spool){.file = fd >= 0 ? fdopen(fd, "w+b") : NULL, .width = width};
  int reason = errno;
  if (!spool->file && fd >= 0) close(fd);
  QG_CHECK(spool->file, QG_ERR_RESOURCE, "cannot write beside %s: %s", path, strerror(reason));
  return QG_OK;
}

qg_status qg_spool_put(qg_spool *spool, uint64_t value)
{
  /* The low bytes of a little-endian number are the number in every narrower width. */
  uint64_t bytes = htole64(value);
  QG_CHECK(fwrite(&bytes, spool->width, 1, spool->file) == 1, QG_ERR_RESOURCE,
           "cannot write a temporary file: %s", strerror(errno));
  spool->count++;
  return QG_OK;
}

qg_status qg_spool_rewind(qg_spool *spool)
{
  QG_CHECK(fflush(spool->file) == 0 && fseeko(spool->file, 0, SEEK_SET) == 0, QG_ERR_RESOURCE,
           "cannot write a temporary file: %s", strerror(errno));
  return QG_OK;
}

qg_status qg_spool_get(qg_spool *spool, int64_t count, void *out)
{
  QG_CHECK(fread(out, spool->width, (size_t)count, spool->file) == (size_t)count, QG_ERR_RESOURCE,
           "cannot read a temporary file back: %s", strerror(errno));
  return QG_OK;
}

void qg_spool_close(qg_spool *spool)
{
  if (spool->file) fclose(spool->file);
  spool->file = NULL;
}
