#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qgalore/base.h"

static qg_status make_one_folder(const char *path)
{
  struct stat info;
  if (mkdir(path, 0777) == 0) return QG_OK;
  int reason = errno;
  bool there = stat(path, &info) == 0;
  QG_CHECK(!there || S_ISDIR(info.st_mode), QG_ERR_RESOURCE,
           "cannot make the folder %s: a file of that name is in the way", path);
  QG_CHECK(there, QG_ERR_RESOURCE, "cannot make the folder %s: %s", path, strerror(reason));
  return QG_OK;
}

qg_status qg_make_folder(const char *path)
{
  qg_status status = QG_OK;
  char *copy = strdup(path);
  QG_CHECK(copy, QG_ERR_RESOURCE, "no host memory for the path %s", path);
  for (char *slash = copy + 1; copy[0] && *slash; slash++) {
    if (*slash != '/' || slash[-1] == '/') continue;
    *slash = '\0';
    QG_TRY_OUT(make_one_folder(copy));
    *slash = '/';
  }
  QG_TRY_OUT(make_one_folder(copy));
out:
  free(copy);
  return status;
}

static qg_status write_all(int file, const char *text, size_t bytes, const char *path)
{
  while (bytes > 0) {
    ssize_t done = write(file, text, bytes);
    if (done < 0 && errno == EINTR) continue;
    QG_CHECK(done > 0, QG_ERR_RESOURCE, "cannot write %s: %s", path,
             done < 0 ? strerror(errno) : "nothing was written");
    text += done;
    bytes -= (size_t)done;
  }
  return QG_OK;
}

static qg_status write_and_sync(const char *path, const char *text, size_t bytes)
{
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  QG_CHECK(file >= 0, QG_ERR_RESOURCE, "cannot create %s: %s", path, strerror(errno));
  qg_status status = QG_OK;
  QG_TRY_OUT(write_all(file, text, bytes, path));
  QG_CHECK_OUT(fsync(file) == 0, QG_ERR_RESOURCE, "cannot write %s to disk: %s", path, strerror(errno));
out:
  /* Network file systems may report a full disk only here. */
  if (close(file) != 0 && status == QG_OK)
    status = QG_FAIL(QG_ERR_RESOURCE, "cannot close %s: %s", path, strerror(errno));
  return status;
}

qg_status qg_write_file_atomic(const char *path, const char *text, size_t bytes)
{
  qg_status status = QG_OK;
  char *temporary = NULL;
  QG_CHECK(asprintf(&temporary, "%s.%d.tmp", path, (int)getpid()) > 0, QG_ERR_RESOURCE,
           "no host memory for the path %s", path);
  QG_TRY_OUT(write_and_sync(temporary, text, bytes));
  QG_CHECK_OUT(rename(temporary, path) == 0, QG_ERR_RESOURCE, "cannot rename %s to %s: %s", temporary, path,
               strerror(errno));
  QG_TRY_OUT(qg_sync_parent(path));
out:
  if (status != QG_OK) unlink(temporary);
  free(temporary);
  return status;
}

qg_status qg_sync_file(const char *path)
{
  int file = open(path, O_RDONLY | O_CLOEXEC);
  bool synced = file >= 0 && fsync(file) == 0;
  int reason = errno;
  if (file >= 0) close(file);
  QG_CHECK(synced, QG_ERR_RESOURCE, "cannot write %s to disk: %s", path, strerror(reason));
  return QG_OK;
}

qg_status qg_sync_parent(const char *path)
{
  char *folder = strdup(path);
  QG_CHECK(folder, QG_ERR_RESOURCE, "no host memory for the path %s", path);
  char *slash = strrchr(folder, '/');
  if (slash) slash[slash == folder] = '\0';
  int file = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  /* Some file systems cannot sync a folder (EINVAL): their renames are as safe as they get. */
  bool synced = file >= 0 && (fsync(file) == 0 || errno == EINVAL);
  int reason = errno;
  if (file >= 0) close(file);
  free(folder);
  QG_CHECK(synced, QG_ERR_RESOURCE, "cannot sync the folder of %s: %s", path, strerror(reason));
  return QG_OK;
}

qg_status qg_finish_output(FILE *out)
{
  bool lost = ferror(out) != 0;
  QG_CHECK(fflush(out) == 0 && !lost, QG_ERR_RESOURCE, "the output cannot be written: %s",
           strerror(errno ? errno : EIO));
  return QG_OK;
}

qg_status qg_check_output(const char *what, const char *path, const char *const *inputs, int count)
{
  struct stat out, in;
  if (stat(path, &out) != 0) {
    QG_CHECK(lstat(path, &out) != 0, QG_ERR_INPUT, "%s: %s is a link to nothing; name a file", what, path);
    return QG_OK;
  }
  QG_CHECK(S_ISREG(out.st_mode), QG_ERR_INPUT, "%s: %s is %s; name a file", what, path,
           S_ISDIR(out.st_mode) ? "a folder" : "there and not a regular file");
  for (int i = 0; i < count; i++) {
    bool same = stat(inputs[i], &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino;
    QG_CHECK(!same, QG_ERR_INPUT, "%s: %s is also the input %s, which would be lost; name another file", what,
             path, inputs[i]);
  }
  return QG_OK;
}

qg_status qg_open_regular(const char *path, int *file)
{
  struct stat info;
  *file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  QG_CHECK(*file >= 0, QG_ERR_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
  if (fstat(*file, &info) == 0 && S_ISREG(info.st_mode)) return QG_OK;
  close(*file);
  *file = -1;
  return QG_FAIL(QG_ERR_INPUT, "%s is not a regular file", path);
}
