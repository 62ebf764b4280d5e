/* Opening a checkpoint for reading. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ckpt/h5_check.h"
#include "ckpt/reader.h"
#include "ckpt/storage.h"
#include "qgalore/base.h"

/* A folder has no content to open, and for a pipe or a device HDF5 would wait. What is missing HDF5 tells. */
static qg_status check_is_file(const char *path)
{
  struct stat info;
  if (stat(path, &info) != 0 || S_ISREG(info.st_mode)) return QG_OK;
  QG_CHECK(!S_ISDIR(info.st_mode), QG_ERR_CHECKPOINT,
           "%s is a folder: name a checkpoint in it, such as checkpoints/step-0000001000.h5", path);
  return QG_FAIL(QG_ERR_CHECKPOINT, "%s is not a regular file", path);
}

/* A finished checkpoint never changes, and file systems without locks are common. */
static qg_status open_readonly(const char *path, hid_t *out)
{
  char reason[256];
  QG_TRY(check_is_file(path));
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  if (access >= 0 && H5Pset_file_locking(access, 0, 1) >= 0) *out = H5Fopen(path, H5F_ACC_RDONLY, access);
  /* Releasing the list forgets the reason. */
  qg_h5_reason(reason, sizeof reason);
  qg_h5_release(access);
  QG_CHECK(*out >= 0, QG_ERR_CHECKPOINT, "%s: cannot be opened, it is missing, cut off or damaged (%s)", path,
           reason);
  return QG_OK;
}

/* Soft and external links could lead out of the file. */
static herr_t leads_out(hid_t group, const char *name, const H5L_info_t *info, void *context)
{
  (void)group;
  (void)name;
  (void)context;
  return info->type == H5L_TYPE_HARD ? 0 : 1;
}

static qg_status open_and_check(const char *path, qg_ckpt_file *f)
{
  QG_TRY(open_readonly(path, &f->file));
  QG_TRY(qg_ckpt_storage_access(path, &f->access));
  QG_TRY(qg_ckpt_header_read(f->file, path, &f->header));
  herr_t outside = H5Lvisit(f->file, H5_INDEX_NAME, H5_ITER_NATIVE, leads_out, NULL);
  QG_CHECK(outside == 0, QG_ERR_CHECKPOINT, "%s: its list of datasets is damaged or leads out of the file",
           path);
  return QG_OK;
}

qg_status qg_ckpt_file_open(const char *path, qg_ckpt_file **out)
{
  void *memory = NULL;
  *out = NULL;
  qg_h5_quiet();
  QG_TRY(qg_calloc(1, sizeof(qg_ckpt_file), "a checkpoint", &memory));
  qg_ckpt_file *f = memory;
  f->file = f->access = -1;
  f->path = strdup(path);
  qg_status status =
      f->path ? open_and_check(path, f) : QG_FAIL(QG_ERR_RESOURCE, "no host memory for a path");
  if (status == QG_OK) *out = f;
  else
    qg_ckpt_file_close(f);
  return status;
}

void qg_ckpt_file_close(qg_ckpt_file *f)
{
  if (!f) return;
  qg_ckpt_header_free(&f->header);
  qg_h5_release(f->access);
  if (f->file >= 0) H5Fclose(f->file);
  free(f->path);
  free(f);
}
