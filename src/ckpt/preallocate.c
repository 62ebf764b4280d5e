/* A save that cannot end should not begin: HDF5 fails badly where a disk fills up while it writes. */
#include "ckpt/preallocate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "qgalore/base.h"

/* File systems that cannot reserve can at least be asked how much is free. */
static int compare_free(int file, int64_t bytes)
{
  struct statvfs info;
  if (fstatvfs(file, &info) != 0) return 0;
  return (double)info.f_bavail * (double)info.f_frsize < (double)bytes ? ENOSPC : 0;
}

/* Reserving beyond the end of a file does not see the limit on file sizes (ulimit -f). */
static bool is_over_limit(int64_t bytes)
{
  struct rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
         limit.rlim_cur < (rlim_t)bytes;
}

static int reserve(int file, int64_t bytes)
{
  if (bytes == 0) return 0;
  if (is_over_limit(bytes)) return EFBIG;
  if (fallocate(file, FALLOC_FL_KEEP_SIZE, 0, bytes) == 0) return 0;
  bool unsupported = errno == EOPNOTSUPP || errno == ENOSYS;
  return unsupported ? compare_free(file, bytes) : errno;
}

qg_status qg_ckpt_preallocate(const char *path, int64_t bytes)
{
  char text[32];
  int file = open(path, O_WRONLY | O_CLOEXEC);
  int reason = file >= 0 ? reserve(file, bytes) : errno;
  if (file >= 0) close(file);
  QG_CHECK(reason == 0, QG_ERR_RESOURCE, "no room for %s: %s cannot be had (%s)", path,
           qg_format_bytes(text, sizeof text, (double)bytes), strerror(reason));
  return QG_OK;
}
