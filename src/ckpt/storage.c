#include "ckpt/storage.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "ckpt/h5_check.h"
#include "ckpt/names.h"

/* Length of the folder of `path` with its slash; 0: the working folder. */
static int folder_length(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash ? (int)(slash - path) + 1 : 0;
}

qg_status qg_ckpt_storage_access(const char *path, hid_t *out)
{
  char folder[QG_CKPT_PATH];
  int length = folder_length(path);
  snprintf(folder, sizeof folder, "%.*s", length, length > 0 ? path : "");
  QG_H5(path, *out = H5Pcreate(H5P_DATASET_ACCESS));
  QG_H5(path, H5Pset_efile_prefix(*out, length > 0 ? folder : "./"));
  return QG_OK;
}

static qg_status read_shape(const qg_ckpt_file *f, const char *name, hid_t data, hid_t create,
                            hsize_t shape[2])
{
  hid_t space = -1;
  QG_H5(f->path, space = H5Dget_space(data));
  bool is_table = H5Sget_simple_extent_ndims(space) == 2 && H5Pget_layout(create) == H5D_CONTIGUOUS &&
                  H5Sget_simple_extent_dims(space, shape, NULL) == 2;
  qg_h5_release(space);
  QG_CHECK(is_table, QG_ERR_CHECKPOINT, "%s: dataset \"%s\" is not a contiguous table", f->path, name);
  return QG_OK;
}

/* A rank file lies beside the checkpoint, whatever folder the checkpoint names. */
static qg_status check_rank_file(const qg_ckpt_file *f, const char *dataset, const char *name, int64_t offset,
                                 hsize_t bytes)
{
  char path[QG_CKPT_PATH];
  struct stat info;
  qg_ckpt_rank_files parsed;
  QG_CHECK(qg_ckpt_rank_file_parse(name, &parsed), QG_ERR_CHECKPOINT,
           "%s: dataset \"%s\" refers to something that is no part of a checkpoint", f->path, dataset);
  snprintf(path, sizeof path, "%.*s%s", folder_length(f->path), f->path, name);
  bool whole = stat(path, &info) == 0 && S_ISREG(info.st_mode) && offset >= 0 && offset <= info.st_size &&
               bytes <= (hsize_t)(info.st_size - offset);
  QG_CHECK(whole, QG_ERR_CHECKPOINT, "%s: its part %s, which holds dataset \"%s\", is missing or cut off",
           f->path, name, dataset);
  return QG_OK;
}

/* The bytes of all segments in *held. */
static qg_status check_rank_files(const qg_ckpt_file *f, const char *dataset, hid_t create, int segments,
                                  hsize_t *held)
{
  *held = 0;
  for (int i = 0; i < segments; i++) {
    char name[QG_CKPT_RANK_FILE_NAME] = "";
    off_t offset = -1;
    hsize_t bytes = 0;
    QG_H5(f->path, H5Pget_external(create, (unsigned)i, sizeof name - 1, name, &offset, &bytes));
    QG_TRY(check_rank_file(f, dataset, name, offset, bytes));
    QG_CHECK(!__builtin_add_overflow(*held, bytes, held), QG_ERR_CHECKPOINT,
             "%s: dataset \"%s\" has parts of impossible sizes", f->path, dataset);
  }
  return QG_OK;
}

static qg_status measure(const qg_ckpt_file *f, const char *name, hid_t data, hid_t create, hsize_t *held)
{
  hsize_t file_bytes = 0;
  int segments = H5Pget_external_count(create);
  if (segments > 0) return check_rank_files(f, name, create, segments, held);
  QG_H5(f->path, H5Fget_filesize(f->file, &file_bytes));
  *held = H5Dget_storage_size(data);
  if (*held > file_bytes) *held = 0;
  return QG_OK;
}

qg_status qg_ckpt_storage_check(const qg_ckpt_file *f, const char *name, hid_t data, size_t element_bytes,
                                hsize_t shape[2])
{
  qg_status status = QG_OK;
  hsize_t elements, bytes, held = 0;
  hid_t create = -1;
  QG_H5_OUT(f->path, create = H5Dget_create_plist(data));
  QG_TRY_OUT(read_shape(f, name, data, create, shape));
  QG_TRY_OUT(measure(f, name, data, create, &held));
  bool fits = !__builtin_mul_overflow(shape[0], shape[1], &elements) && elements > 0 &&
              elements <= (hsize_t)INT64_MAX &&
              !__builtin_mul_overflow(elements, (hsize_t)element_bytes, &bytes) && bytes == held;
  QG_CHECK_OUT(fits, QG_ERR_CHECKPOINT, "%s: dataset \"%s\" [%llu, %llu] is not wholly in the file", f->path,
               name, (unsigned long long)shape[0], (unsigned long long)shape[1]);
out:
  qg_h5_release(create);
  return status;
}
