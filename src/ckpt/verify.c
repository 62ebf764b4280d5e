/* Reading every byte against its checksum. */
#include <stdlib.h>
#include <string.h>

#include "ckpt/ckpt_private.h"
#include "qgalore/base.h"

qg_status qg_ckpt_read_slab(hid_t data, hid_t crc, const char *path, const char *name, hid_t memory_type,
                            size_t element_bytes, int64_t elements, int64_t item, int64_t slab, void *buffer)
{
  int64_t whole = qg_ckpt_slab_elements(element_bytes, elements), first = slab * whole;
  int64_t count = qg_min_i64(whole, elements - first);
  hsize_t start[2] = {(hsize_t)item, (hsize_t)first}, size[2] = {1, (hsize_t)count}, one[2] = {1, 1};
  hsize_t crc_start[2] = {(hsize_t)item, (hsize_t)slab}, length = (hsize_t)count, single = 1;
  hid_t file_space = H5Dget_space(data), memory = H5Screate_simple(1, &length, NULL);
  hid_t crc_space = H5Dget_space(crc), crc_memory = H5Screate_simple(1, &single, NULL);
  uint32_t expected = 0;
  qg_status status;
  QG_H5_OUT(name, H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, size, NULL));
  QG_H5_OUT(name, H5Sselect_hyperslab(crc_space, H5S_SELECT_SET, crc_start, NULL, one, NULL));
  QG_H5_OUT(name, H5Dread(data, memory_type, memory, file_space, H5P_DEFAULT, buffer));
  QG_H5_OUT(name, H5Dread(crc, H5T_NATIVE_UINT32, crc_memory, crc_space, H5P_DEFAULT, &expected));
  QG_CHECK_OUT(qg_crc32c(0, buffer, (size_t)count * element_bytes) == expected, QG_ERR_CHECKPOINT,
               "%s: dataset \"%s\", item %lld: the data are damaged (checksum)", path, name, (long long)item);
out:
  H5Sclose(crc_memory);
  H5Sclose(crc_space);
  H5Sclose(memory);
  H5Sclose(file_space);
  return status;
}

typedef struct {
  const char *path;
  hid_t file;
  int part, parts, seen;
  qg_status status;
} visitor;

static qg_status verify_items(const visitor *v, const char *name, hid_t data, hid_t crc)
{
  hsize_t dims[2] = {0, 0}, crc_dims[2] = {0, 0};
  hid_t type = H5Dget_type(data), space = H5Dget_space(data), crc_space = H5Dget_space(crc), native = -1;
  void *buffer = NULL;
  qg_status status;
  QG_CHECK_OUT(H5Sget_simple_extent_ndims(space) == 2 && H5Sget_simple_extent_ndims(crc_space) == 2, QG_ERR_CHECKPOINT,
               "%s: dataset \"%s\" has a wrong shape", v->path, name);
  H5Sget_simple_extent_dims(space, dims, NULL);
  H5Sget_simple_extent_dims(crc_space, crc_dims, NULL);
  QG_CHECK_OUT(type >= 0 && H5Tget_size(type) >= 1 && H5Tget_size(type) <= 8 && dims[1] > 0 && dims[1] < (hsize_t)1 << 48,
               QG_ERR_CHECKPOINT, "%s: dataset \"%s\" has a wrong type or size", v->path, name);
  size_t bytes = H5Tget_size(type);
  int64_t whole = qg_ckpt_slab_elements(bytes, (int64_t)dims[1]), slabs = qg_ceil_div((int64_t)dims[1], whole);
  QG_CHECK_OUT(crc_dims[0] == dims[0] && crc_dims[1] == (hsize_t)slabs, QG_ERR_CHECKPOINT,
               "%s: dataset \"%s\" and its checksums do not fit together", v->path, name);
  QG_H5_OUT(name, native = H5Tget_native_type(type, H5T_DIR_ASCEND));
  QG_TRY_OUT(qg_calloc((size_t)whole, bytes, name, &buffer));
  for (int64_t item = 0; item < (int64_t)dims[0]; item++)
    for (int64_t slab = 0; slab < slabs; slab++)
      QG_TRY_OUT(qg_ckpt_read_slab(data, crc, v->path, name, native, bytes, (int64_t)dims[1], item, slab, buffer));
out:
  free(buffer);
  if (native >= 0) H5Tclose(native);
  if (crc_space >= 0) H5Sclose(crc_space);
  if (space >= 0) H5Sclose(space);
  if (type >= 0) H5Tclose(type);
  return status;
}

static bool has_suffix(const char *text, const char *suffix)
{
  size_t a = strlen(text), b = strlen(suffix);
  return a >= b && strcmp(text + a - b, suffix) == 0;
}

static qg_status verify_dataset(const visitor *v, const char *name)
{
  char crc_name[1024];
  snprintf(crc_name, sizeof crc_name, "%s%s", name, QG_CKPT_CRC_SUFFIX);
  hid_t data = H5Dopen2(v->file, name, H5P_DEFAULT), crc = H5Dopen2(v->file, crc_name, H5P_DEFAULT);
  qg_status status;
  QG_CHECK_OUT(data >= 0 && crc >= 0, QG_ERR_CHECKPOINT, "%s: dataset \"%s\" or its checksums cannot be opened", v->path, name);
  QG_TRY_OUT(verify_items(v, name, data, crc));
out:
  if (crc >= 0) H5Dclose(crc);
  if (data >= 0) H5Dclose(data);
  return status;
}

static herr_t visit(hid_t root, const char *name, const H5O_info_t *info, void *context)
{
  visitor *v = context;
  (void)root;
  bool checked = info->type == H5O_TYPE_DATASET && !has_suffix(name, QG_CKPT_CRC_SUFFIX) && strcmp(name, "resolved_input") != 0;
  if (!checked || v->seen++ % v->parts != v->part) return 0;
  v->status = verify_dataset(v, name);
  return v->status == QG_OK ? 0 : 1;
}

qg_status qg_ckpt_verify_part(const char *path, int part, int parts)
{
  visitor v = {.path = path, .part = part, .parts = parts};
  qg_ckpt_meta meta;
  char *resolved = NULL;
  qg_status status;
  qg_ckpt_quiet();
  v.file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  QG_CHECK(v.file >= 0, QG_ERR_CHECKPOINT, "%s: cannot be opened as HDF5: missing, truncated or damaged", path);
  QG_TRY_OUT(qg_ckpt_read_meta(v.file, path, &meta, &resolved));
  QG_H5_OUT(path, H5Ovisit(v.file, H5_INDEX_NAME, H5_ITER_INC, visit, &v));
  QG_TRY_OUT(v.status);
  QG_CHECK_OUT(v.seen > 0, QG_ERR_CHECKPOINT, "%s: holds no data", path);
out:
  free(resolved);
  H5Fclose(v.file);
  return status;
}

qg_status qg_ckpt_verify(const char *path) { return qg_ckpt_verify_part(path, 0, 1); }

qg_status qg_ckpt_find(qg_par *par, const qg_log *log, const char *folder, char *path, size_t size)
{
  const qg_grid *grid = qg_par_grid(par);
  int64_t *steps = NULL;
  int count = 0;
  path[0] = '\0';
  QG_TRY(qg_par_agree(par, qg_par_is_root(grid) ? qg_ckpt_list(folder, &steps, &count) : QG_OK));
  QG_TRY(qg_par_broadcast(par, &count, sizeof count, 0));
  qg_status status = QG_OK;
  for (int i = 0; i < count && path[0] == '\0' && status == QG_OK; i++) {
    int64_t step = steps ? steps[i] : 0;
    status = qg_par_broadcast(par, &step, sizeof step, 0);
    qg_ckpt_path(folder, step, path, size);
    if (qg_par_agree(par, qg_ckpt_verify_part(path, grid->rank, grid->size)) == QG_OK) break;
    qg_log_warn(log, "refused checkpoint of step %lld: %s", (long long)step, qg_error_message());
    path[0] = '\0';
  }
  free(steps);
  return status;
}
