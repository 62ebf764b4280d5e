/* How much room a disk has for this user. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/quota.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "qgalore/base.h"

/* What the user's and the group's quota leave, where the kernel can be asked without knowing the device
 * (Linux 5.14). File systems of clusters mostly answer statvfs with what a quota leaves. */
static double quota_left(int folder)
{
  double left = (double)INT64_MAX;
#ifdef SYS_quotactl_fd
  const struct {
    int type, id;
  } quotas[] = {{USRQUOTA, (int)getuid()}, {GRPQUOTA, (int)getgid()}};
  for (int i = 0; i < QG_COUNT_OF(quotas); i++) {
    struct dqblk quota;
    if (syscall(SYS_quotactl_fd, folder, QCMD(Q_GETQUOTA, quotas[i].type), quotas[i].id, &quota) != 0)
      continue;
    if (quota.dqb_bhardlimit == 0) continue;
    double rest = (double)dbtob(quota.dqb_bhardlimit) - (double)quota.dqb_curspace;
    left = rest < left ? rest : left;
  }
#else
  (void)folder;
#endif
  return left > 0.0 ? left : 0.0;
}

/* The nearest folder at or above `path` that exists; -1: none. */
static int open_nearest(const char *path)
{
  char *copy = strdup(path), *place = copy;
  int folder = -1;
  while (place && (folder = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 && errno == ENOENT &&
         strcmp(place, ".") != 0 && strcmp(place, "/") != 0)
    place = dirname(place);
  free(copy);
  return folder;
}

int64_t qg_disk_free(const char *path)
{
  struct statvfs disk;
  int folder = open_nearest(path);
  if (folder < 0) return INT64_MAX;
  double left =
      fstatvfs(folder, &disk) == 0 ? (double)disk.f_bavail * (double)disk.f_frsize : (double)INT64_MAX;
  double quota = quota_left(folder);
  close(folder);
  left = quota < left ? quota : left;
  return left < 9e18 ? (int64_t)left : INT64_MAX;
}
