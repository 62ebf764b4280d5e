#include "ckpt/h5_file.h"

#include <stdio.h>
#include <string.h>

#include "ckpt/attributes.h"
#include "ckpt/h5_check.h"
#include "ckpt/preallocate.h"
#include "ckpt/reader.h"
#include "qgalore/base.h"
#include "qgalore/base/fault.h"

typedef struct {
  const char *path;
  qg_ckpt_placement *placement;
  const qg_ckpt_rank_files *rank_files;
  hid_t file, links, inside; /* inside: how a dataset in this file is made */
} h5_file;

static qg_status file_access(const char *path, hid_t *out)
{
  QG_H5(path, *out = H5Pcreate(H5P_FILE_ACCESS));
  /* The 1.8 format has checksums on its own structures. */
  QG_H5(path, H5Pset_libver_bounds(*out, H5F_LIBVER_V18, H5F_LIBVER_V18));
  /* File systems without locks are common, and no other process uses a file without its final name. */
  QG_H5(path, H5Pset_file_locking(*out, 0, 1));
  return QG_OK;
}

static qg_status prepare(h5_file *h)
{
  qg_status status = QG_OK;
  hid_t access = -1;
  QG_TRY_OUT(file_access(h->path, &access));
  QG_H5_OUT(h->path, h->file = H5Fcreate(h->path, H5F_ACC_TRUNC, H5P_DEFAULT, access));
  QG_H5_OUT(h->path, h->links = H5Pcreate(H5P_LINK_CREATE));
  QG_H5_OUT(h->path, H5Pset_create_intermediate_group(h->links, 1));
  QG_H5_OUT(h->path, h->inside = H5Pcreate(H5P_DATASET_CREATE));
  QG_H5_OUT(h->path, H5Pset_alloc_time(h->inside, H5D_ALLOC_TIME_EARLY));
  /* Every byte will be written: filling first would write the file twice. */
  QG_H5_OUT(h->path, H5Pset_fill_time(h->inside, H5D_FILL_TIME_NEVER));
out:
  qg_h5_release(access);
  return status;
}

static qg_status create_table(const h5_file *h, const char *name, hid_t type, int64_t rows, int64_t columns,
                              hid_t create, hid_t *out)
{
  qg_status status = QG_OK;
  hsize_t shape[2] = {(hsize_t)rows, (hsize_t)columns};
  hid_t space = -1;
  QG_H5_OUT(h->path, space = H5Screate_simple(2, shape, NULL));
  QG_H5_OUT(h->path, *out = H5Dcreate2(h->file, name, type, space, h->links, create, H5P_DEFAULT));
out:
  qg_h5_release(space);
  return status;
}

/* Items that follow each other in the same rank file are one segment. */
static int64_t segment_end(const qg_ckpt_placement *placement, int dataset, int64_t item)
{
  const int32_t *owners = placement->item_owners + placement->offsets[dataset].first_item;
  int64_t end = item + 1;
  while (end < placement->layout.datasets[dataset].items && owners[end] == owners[item]) end++;
  return end;
}

static qg_status refer_to_rank_files(const h5_file *h, int dataset, hid_t create)
{
  const qg_ckpt_dataset *d = &h->placement->layout.datasets[dataset];
  int64_t first = h->placement->offsets[dataset].first_item;
  char name[QG_CKPT_RANK_FILE_NAME];
  for (int64_t item = 0, end; item < d->items; item = end) {
    end = segment_end(h->placement, dataset, item);
    qg_ckpt_rank_file_name(h->rank_files, h->placement->item_owners[first + item], name);
    hsize_t bytes = (hsize_t)(end - item) * qg_ckpt_item_bytes(d);
    QG_H5(h->path, H5Pset_external(create, name, (off_t)h->placement->item_offsets[first + item], bytes));
  }
  return QG_OK;
}

static qg_status create_external(const h5_file *h, int dataset, hid_t *data)
{
  const qg_ckpt_dataset *d = &h->placement->layout.datasets[dataset];
  qg_status status = QG_OK;
  hid_t create = -1;
  QG_H5_OUT(h->path, create = H5Pcreate(H5P_DATASET_CREATE));
  QG_TRY_OUT(refer_to_rank_files(h, dataset, create));
  QG_TRY_OUT(create_table(h, d->name, qg_ckpt_h5_type(d->type), d->items, d->elements, create, data));
out:
  qg_h5_release(create);
  return status;
}

static qg_status create_data(const h5_file *h, int dataset, hid_t *data)
{
  const qg_ckpt_dataset *d = &h->placement->layout.datasets[dataset];
  if (h->placement->files == QG_CKPT_PER_RANK) return create_external(h, dataset, data);
  QG_TRY(create_table(h, d->name, qg_ckpt_h5_type(d->type), d->items, d->elements, h->inside, data));
  haddr_t address = H5Dget_offset(*data);
  QG_CHECK(address != HADDR_UNDEF, QG_ERR_CHECKPOINT, "%s: HDF5 assigns no address to dataset \"%s\"",
           h->path, d->name);
  h->placement->offsets[dataset].address = (int64_t)address;
  return QG_OK;
}

static void name_sums(const qg_ckpt_dataset *dataset, char name[QG_CKPT_NAME])
{
  snprintf(name, QG_CKPT_NAME, "%s%s", dataset->name, QG_CKPT_CRC_SUFFIX);
}

static qg_status create_dataset(const h5_file *h, int dataset)
{
  const qg_ckpt_dataset *d = &h->placement->layout.datasets[dataset];
  char name[QG_CKPT_NAME];
  hid_t data = -1, sums = -1;
  qg_status status = QG_OK;
  name_sums(d, name);
  QG_TRY_OUT(create_data(h, dataset, &data));
  QG_TRY_OUT(qg_ckpt_attribute_write_text(data, h->path, "element", qg_dtype_name(d->type)));
  QG_TRY_OUT(create_table(h, name, H5T_STD_U32LE, d->items, h->placement->offsets[dataset].blocks, h->inside,
                          &sums));
out:
  qg_h5_release(sums);
  qg_h5_release(data);
  return status;
}

/* The checksums, what HDF5 writes about the datasets, and in the shared layout all data. */
static int64_t bytes_needed(const qg_ckpt_placement *placement)
{
  int64_t bytes = (int64_t)sizeof(uint32_t) * placement->sums + ((int64_t)64 << 10) +
                  (int64_t)placement->layout.count * 2048;
  for (int d = 0; d < placement->layout.count && placement->files == QG_CKPT_SHARED; d++)
    bytes +=
        placement->layout.datasets[d].items * (int64_t)qg_ckpt_item_bytes(&placement->layout.datasets[d]);
  return bytes;
}

static qg_status fill(const h5_file *h, const qg_ckpt_header *header)
{
  QG_TRY(qg_ckpt_preallocate(h->path, bytes_needed(h->placement)));
  QG_TRY(qg_ckpt_header_write(h->file, h->path, header));
  for (int i = 0; i < h->placement->layout.count; i++) QG_TRY(create_dataset(h, i));
  return QG_OK;
}

static qg_status close_file(hid_t file, const char *path, qg_status status)
{
  bool closed = H5Fclose(file) >= 0;
  if (status != QG_OK || closed) return status;
  return qg_h5_failure(path, "H5Fclose", __FILE__, __LINE__, __func__);
}

qg_status qg_ckpt_h5_file_create(const char *path, const qg_ckpt_header *header, qg_ckpt_placement *placement,
                                 const qg_ckpt_rank_files *rank_files)
{
  h5_file h = {
      .path = path, .placement = placement, .rank_files = rank_files, .file = -1, .links = -1, .inside = -1};
  qg_status status = prepare(&h);
  if (status == QG_OK) status = fill(&h, header);
  qg_h5_release(h.inside);
  qg_h5_release(h.links);
  return h.file >= 0 ? close_file(h.file, path, status) : status;
}

static qg_status write_sums(hid_t file, const char *path, const qg_ckpt_placement *placement,
                            const uint32_t *sums)
{
  for (int i = 0; i < placement->layout.count; i++) {
    char name[QG_CKPT_NAME];
    hid_t table = -1;
    name_sums(&placement->layout.datasets[i], name);
    QG_H5(path, table = H5Dopen2(file, name, H5P_DEFAULT));
    herr_t written =
        H5Dwrite(table, H5T_STD_U32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, sums + placement->offsets[i].first_sum);
    qg_h5_release(table);
    QG_H5(path, written);
  }
  return QG_OK;
}

/* Data and checksums first, then the mark: a file that says it is complete is. */
static qg_status complete(hid_t file, const char *path, const qg_ckpt_placement *placement,
                          const uint32_t *sums)
{
  QG_TRY(write_sums(file, path, placement, sums));
  QG_H5(path, H5Fflush(file, H5F_SCOPE_GLOBAL));
  qg_fault("checkpoint.flushed");
  QG_TRY(qg_ckpt_header_complete(file, path));
  QG_H5(path, H5Fflush(file, H5F_SCOPE_GLOBAL));
  qg_fault("checkpoint.complete");
  return QG_OK;
}

qg_status qg_ckpt_h5_file_complete(const char *path, const qg_ckpt_placement *placement, const uint32_t *sums)
{
  hid_t access = -1, file = -1;
  qg_status status = QG_OK;
  QG_TRY_OUT(file_access(path, &access));
  QG_H5_OUT(path, file = H5Fopen(path, H5F_ACC_RDWR, access));
  status = close_file(file, path, complete(file, path, placement, sums));
  if (status == QG_OK) status = qg_sync_file(path);
  qg_fault("checkpoint.closed");
out:
  qg_h5_release(access);
  return status;
}

/* Datasets come in the order of names; the placement has them in another. */
static qg_status check_address(void *context, const qg_ckpt_reader *reader)
{
  const qg_ckpt_placement *placement = context;
  int i = 0;
  while (i < placement->layout.count && strcmp(placement->layout.datasets[i].name, reader->name) != 0) i++;
  bool same = i < placement->layout.count && placement->layout.datasets[i].items == reader->items &&
              placement->layout.datasets[i].elements == reader->elements;
  if (same && placement->files == QG_CKPT_SHARED)
    same = H5Dget_offset(reader->data) == (haddr_t)placement->offsets[i].address;
  QG_CHECK(same, QG_ERR_CHECKPOINT, "%s: dataset \"%s\" is not where it was written", reader->file->path,
           reader->name);
  return QG_OK;
}

qg_status qg_ckpt_h5_file_check(const char *path, const qg_ckpt_placement *placement)
{
  qg_ckpt_file *file = NULL;
  QG_TRY(qg_ckpt_file_open(path, &file));
  qg_status status = qg_ckpt_for_each_dataset(file, check_address, (void *)placement);
  qg_ckpt_file_close(file);
  return status;
}
