/* Writing: all ranks together, in slabs, each with a checksum. The order of the phases is what makes a half-written
 * file impossible to mistake for a whole one. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ckpt/ckpt_private.h"
#include "qgalore/base.h"
#include "qgalore/fault.h"
#include "qgalore/par_mpi.h"

typedef struct {
  qg_par *par;
  qg_backend *be;
  const qg_state_entry *entries;
  int count;
  const char *path;  /* of the temporary file */
  hid_t file, transfer;
  void *staging;     /* one slab of host memory when entries live on a device */
} writer;

/* The n-th entry of a dataset that this rank writes, or NULL. */
static const qg_state_entry *owned_entry(const writer *w, const qg_ckpt_dataset *d, int n)
{
  for (int i = d->first_entry; i < w->count; i++)
    if (w->entries[i].owner && w->entries[i].data && strcmp(w->entries[i].dataset, d->name) == 0 && n-- == 0)
      return &w->entries[i];
  return NULL;
}

static int owned_count(const writer *w, const qg_ckpt_dataset *d)
{
  int n = 0;
  while (owned_entry(w, d, n)) n++;
  return n;
}

static qg_status create_dataset(const writer *w, const char *name, hid_t type, int64_t items, int64_t elements, hid_t *out)
{
  hsize_t dims[2] = {(hsize_t)items, (hsize_t)elements};
  hid_t space = H5Screate_simple(2, dims, NULL), links = H5Pcreate(H5P_LINK_CREATE), create = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  H5Pset_fill_time(create, H5D_FILL_TIME_NEVER);
  H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY);
  *out = H5Dcreate2(w->file, name, type, space, links, create, H5P_DEFAULT);
  H5Pclose(create);
  H5Pclose(links);
  H5Sclose(space);
  return qg_ckpt_h5_status(*out, "H5Dcreate2", w->path);
}

/* One collective write; data == NULL takes part without a selection. */
static qg_status write_block(const writer *w, hid_t dataset, hid_t memory_type, int64_t item, int64_t first,
                             int64_t count, const void *data)
{
  hsize_t start[2] = {(hsize_t)item, (hsize_t)first}, size[2] = {1, (hsize_t)count}, length = (hsize_t)count;
  hid_t file_space = H5Dget_space(dataset), memory_space = H5Screate_simple(1, &length, NULL);
  static const char nothing;
  if (data) H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, size, NULL);
  else {
    H5Sselect_none(file_space);
    H5Sselect_none(memory_space);
  }
  herr_t result = H5Dwrite(dataset, memory_type, memory_space, file_space, w->transfer, data ? data : &nothing);
  H5Sclose(memory_space);
  H5Sclose(file_space);
  return qg_ckpt_h5_status(result, "H5Dwrite", w->path);
}

static qg_status host_slab(const writer *w, const qg_state_entry *entry, size_t offset, size_t bytes, const void **out)
{
  *out = (const char *)entry->data + offset;
  if (!entry->on_device || w->be->ops->unified_memory) return QG_OK;
  QG_TRY(w->be->ops->copy_out(w->be, w->staging, *out, bytes));
  *out = w->staging;
  return QG_OK;
}

/* Slab `slab` of this rank's item (entry may be NULL) and its checksum. A rank whose copy fails still takes part. */
static qg_status write_slab(const writer *w, const qg_ckpt_dataset *d, const qg_state_entry *entry, int64_t slab,
                            hid_t data, hid_t crc)
{
  size_t size = qg_ckpt_element_bytes(d->type);
  int64_t whole = qg_ckpt_slab_elements(size, d->elements), first = slab * whole;
  int64_t count = qg_min_i64(whole, d->elements - first);
  const void *host = NULL;
  uint32_t sum = 0;
  qg_status copied = entry ? host_slab(w, entry, (size_t)first * size, (size_t)count * size, &host) : QG_OK;
  if (host) sum = qg_crc32c(0, host, (size_t)count * size);
  int64_t item = entry ? entry->item : 0;
  qg_status written = write_block(w, data, qg_ckpt_memory_type(d->type), item, first, count, host);
  qg_status summed = write_block(w, crc, H5T_NATIVE_UINT32, item, slab, 1, host ? &sum : NULL);
  return copied != QG_OK ? copied : written != QG_OK ? written : summed;
}

static qg_status write_dataset(const writer *w, const qg_ckpt_dataset *d, int rounds)
{
  char name[160];
  int64_t slabs = qg_ceil_div(d->elements, qg_ckpt_slab_elements(qg_ckpt_element_bytes(d->type), d->elements));
  hid_t data = -1, crc = -1;
  qg_status status;
  snprintf(name, sizeof name, "%s%s", d->name, QG_CKPT_CRC_SUFFIX);
  QG_TRY_OUT(create_dataset(w, d->name, qg_ckpt_file_type(d->type), d->items, d->elements, &data));
  QG_TRY_OUT(create_dataset(w, name, H5T_STD_U32LE, d->items, slabs, &crc));
  for (int round = 0; round < rounds; round++)
    for (int64_t slab = 0; slab < slabs; slab++)
      QG_TRY_OUT(write_slab(w, d, owned_entry(w, d, round), slab, data, crc));
out:
  if (data >= 0) H5Dclose(data);
  if (crc >= 0) H5Dclose(crc);
  return status;
}

static qg_status write_all(writer *w)
{
  qg_ckpt_dataset *list = NULL;
  double *rounds = NULL;
  int datasets;
  qg_status status;
  QG_TRY_OUT(qg_ckpt_datasets(w->entries, w->count, &list, &datasets));
  QG_TRY_OUT(qg_calloc((size_t)datasets + 1, sizeof *rounds, "checkpoint rounds", (void **)&rounds));
  for (int i = 0; i < datasets; i++) rounds[i] = owned_count(w, &list[i]);
  QG_TRY_OUT(qg_par_max(w->par, rounds, datasets));
  for (int i = 0; i < datasets; i++) {
    QG_TRY_OUT(write_dataset(w, &list[i], (int)rounds[i]));
    if (i == datasets / 2) qg_fault("checkpoint-data");
  }
out:
  free(rounds);
  free(list);
  return status;
}

static size_t staging_bytes(const writer *w)
{
  size_t most = 0;
  for (int i = 0; i < w->count; i++) {
    size_t size = qg_ckpt_element_bytes(w->entries[i].type);
    size_t bytes = (size_t)qg_ckpt_slab_elements(size, w->entries[i].elements) * size;
    if (w->entries[i].on_device && bytes > most) most = bytes;
  }
  return w->be->ops->unified_memory ? 0 : most;
}

static qg_status open_file(writer *w)
{
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  qg_status status;
  QG_H5_OUT(w->path, H5Pset_fapl_mpio(access, qg_par_comm(w->par), MPI_INFO_NULL));
  H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
  QG_H5_OUT(w->path, w->file = H5Fcreate(w->path, H5F_ACC_TRUNC, H5P_DEFAULT, access));
  w->transfer = H5Pcreate(H5P_DATASET_XFER);
  QG_H5_OUT(w->path, H5Pset_dxpl_mpio(w->transfer, H5FD_MPIO_COLLECTIVE));
out:
  H5Pclose(access);
  return status;
}

static qg_status close_file(writer *w)
{
  qg_status status = w->file >= 0 ? qg_ckpt_h5_status(H5Fclose(w->file), "H5Fclose", w->path) : QG_OK;
  if (w->transfer >= 0) H5Pclose(w->transfer);
  w->file = w->transfer = -1;
  return status;
}

static qg_status fill_file(writer *w, const qg_ckpt_meta *meta)
{
  QG_TRY(open_file(w));
  QG_TRY(qg_ckpt_write_meta(w->file, w->path, meta));
  QG_TRY(write_all(w));
  QG_H5(w->path, H5Fflush(w->file, H5F_SCOPE_GLOBAL));
  qg_fault("checkpoint-flushed");
  QG_TRY(qg_ckpt_mark_complete(w->file, w->path));
  QG_H5(w->path, H5Fflush(w->file, H5F_SCOPE_GLOBAL));
  return QG_OK;
}

/* H5Fclose does not reach the disk by itself. */
static qg_status sync_file(const char *path)
{
  int fd = open(path, O_RDONLY);
  QG_CHECK(fd >= 0, QG_ERR_CHECKPOINT, "cannot open %s to sync it: %s", path, strerror(errno));
  int failed = fsync(fd);
  close(fd);
  QG_CHECK(!failed, QG_ERR_CHECKPOINT, "cannot sync %s: %s", path, strerror(errno));
  return QG_OK;
}

static qg_status publish(const char *temporary, const char *path)
{
  qg_fault("checkpoint-before-rename");
  QG_CHECK(rename(temporary, path) == 0, QG_ERR_CHECKPOINT, "cannot rename %s to %s: %s", temporary, path, strerror(errno));
  qg_fault("checkpoint-renamed");
  return qg_sync_parent(path);
}

static qg_status write_temporary(writer *w, const qg_ckpt_meta *meta)
{
  qg_status status = qg_calloc(1, staging_bytes(w) + 1, "checkpoint staging", &w->staging);
  QG_TRY(qg_par_agree(w->par, status));
  status = fill_file(w, meta);
  qg_status closed = close_file(w);
  free(w->staging);
  QG_TRY(qg_par_agree(w->par, status != QG_OK ? status : closed));
  const qg_grid *grid = qg_par_grid(w->par);
  if (qg_par_is_root(grid)) status = sync_file(w->path);
  QG_TRY(qg_par_agree(w->par, status));
  qg_fault("checkpoint-written");
  return qg_par_agree(w->par, qg_ckpt_verify_part(w->path, grid->rank, grid->size));
}

qg_status qg_ckpt_save(qg_par *par, qg_backend *be, const qg_ckpt_options *options, const qg_ckpt_meta *meta,
                       const qg_state_entry *entries, int count)
{
  char path[QG_CKPT_PATH], temporary[QG_CKPT_PATH + 8];
  bool root = qg_par_is_root(qg_par_grid(par));
  qg_ckpt_quiet();
  QG_TRY(qg_par_agree(par, root ? qg_make_folder(options->folder) : QG_OK));
  qg_ckpt_path(options->folder, meta->step, path, sizeof path);
  snprintf(temporary, sizeof temporary, "%s.part", path);
  writer w = {.par = par, .be = be, .entries = entries, .count = count, .path = temporary, .file = -1, .transfer = -1};
  qg_fault("checkpoint-begin");
  qg_status status = write_temporary(&w, meta);
  if (status == QG_OK) status = qg_par_agree(par, root ? publish(temporary, path) : QG_OK);
  if (root && status != QG_OK) unlink(temporary);
  if (root && status == QG_OK) qg_ckpt_rotate(options);
  return status;
}
