/* Loading: every rank opens the file by itself and reads the items it holds, whatever partition wrote them. */
#include <stdlib.h>
#include <string.h>

#include "ckpt/ckpt_private.h"
#include "qgalore/base.h"

struct qg_ckpt_file {
  qg_par *par;
  char path[QG_CKPT_PATH];
  hid_t file;
  qg_ckpt_meta meta;
  char *resolved;
};

static qg_status open_local(qg_ckpt_file *f)
{
  f->file = H5Fopen(f->path, H5F_ACC_RDONLY, H5P_DEFAULT);
  QG_CHECK(f->file >= 0, QG_ERR_CHECKPOINT, "%s: cannot be opened as a checkpoint: missing, truncated or damaged", f->path);
  return qg_ckpt_read_meta(f->file, f->path, &f->meta, &f->resolved);
}

qg_status qg_ckpt_open(qg_par *par, const char *path, qg_ckpt_file **out)
{
  qg_ckpt_file *f;
  qg_ckpt_quiet();
  QG_TRY(qg_calloc(1, sizeof *f, "checkpoint", (void **)&f));
  *out = f;
  f->par = par;
  f->file = -1;
  snprintf(f->path, sizeof f->path, "%s", path);
  return qg_par_agree(par, open_local(f));
}

const qg_ckpt_meta *qg_ckpt_get_meta(const qg_ckpt_file *file) { return &file->meta; }

static qg_status check_shape(const qg_ckpt_file *f, const qg_ckpt_dataset *d, hid_t data)
{
  hsize_t dims[2] = {0, 0};
  hid_t space = H5Dget_space(data), type = H5Dget_type(data);
  bool flat = H5Sget_simple_extent_ndims(space) == 2;
  if (flat) H5Sget_simple_extent_dims(space, dims, NULL);
  bool fits = flat && dims[0] == (hsize_t)d->items && dims[1] == (hsize_t)d->elements &&
              H5Tequal(type, qg_ckpt_file_type(d->type)) > 0;
  H5Tclose(type);
  H5Sclose(space);
  QG_CHECK(fits, QG_ERR_CHECKPOINT,
           "%s: dataset \"%s\" is [%llu, %llu], the input asks for [%lld, %lld] of %s; it belongs to another model or method",
           f->path, d->name, (unsigned long long)dims[0], (unsigned long long)dims[1], (long long)d->items,
           (long long)d->elements, qg_dtype_name(d->type));
  return QG_OK;
}

static qg_status load_item(const qg_ckpt_file *f, qg_backend *be, const qg_ckpt_dataset *d, const qg_state_entry *entry,
                           hid_t data, hid_t crc, void *staging)
{
  size_t size = qg_ckpt_element_bytes(d->type);
  int64_t whole = qg_ckpt_slab_elements(size, d->elements);
  for (int64_t slab = 0; slab * whole < d->elements; slab++) {
    size_t bytes = (size_t)qg_min_i64(whole, d->elements - slab * whole) * size;
    char *to = (char *)entry->data + (size_t)(slab * whole) * size;
    QG_TRY(qg_ckpt_read_slab(data, crc, f->path, d->name, qg_ckpt_memory_type(d->type), size, d->elements, entry->item,
                             slab, staging));
    if (entry->on_device) QG_TRY(be->ops->copy_in(be, to, staging, bytes));
    else
      memcpy(to, staging, bytes);
  }
  return QG_OK;
}

static bool is_wanted(const qg_state_entry *entry, const qg_ckpt_dataset *d)
{
  return entry->data && strcmp(entry->dataset, d->name) == 0;
}

static qg_status load_dataset(const qg_ckpt_file *f, qg_backend *be, const qg_ckpt_dataset *d,
                              const qg_state_entry *entries, int count)
{
  char crc_name[160];
  void *staging = NULL;
  size_t size = qg_ckpt_element_bytes(d->type);
  snprintf(crc_name, sizeof crc_name, "%s%s", d->name, QG_CKPT_CRC_SUFFIX);
  hid_t data = H5Dopen2(f->file, d->name, H5P_DEFAULT), crc = H5Dopen2(f->file, crc_name, H5P_DEFAULT);
  qg_status status;
  QG_CHECK_OUT(data >= 0 && crc >= 0, QG_ERR_CHECKPOINT, "%s: dataset \"%s\" is missing; the checkpoint is of another model or method",
               f->path, d->name);
  QG_TRY_OUT(check_shape(f, d, data));
  QG_TRY_OUT(qg_calloc((size_t)qg_ckpt_slab_elements(size, d->elements), size, d->name, &staging));
  for (int i = d->first_entry; i < count; i++)
    if (is_wanted(&entries[i], d)) QG_TRY_OUT(load_item(f, be, d, &entries[i], data, crc, staging));
out:
  free(staging);
  if (crc >= 0) H5Dclose(crc);
  if (data >= 0) H5Dclose(data);
  return status;
}

static qg_status load_all(const qg_ckpt_file *f, qg_backend *be, const qg_state_entry *entries, int count)
{
  qg_ckpt_dataset *list = NULL;
  int datasets;
  qg_status status;
  QG_TRY_OUT(qg_ckpt_datasets(entries, count, &list, &datasets));
  for (int i = 0; i < datasets; i++) QG_TRY_OUT(load_dataset(f, be, &list[i], entries, count));
out:
  free(list);
  return status;
}

qg_status qg_ckpt_load(qg_ckpt_file *file, qg_backend *be, const qg_state_entry *entries, int count)
{
  return qg_par_agree(file->par, load_all(file, be, entries, count));
}

void qg_ckpt_close(qg_ckpt_file *file)
{
  if (!file) return;
  if (file->file >= 0) H5Fclose(file->file);
  free(file->resolved);
  free(file);
}
