#include "ckpt/skeleton.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ckpt/attributes.h"
#include "ckpt/h5_check.h"
#include "ckpt/reader.h"
#include "ckpt/space.h"
#include "qgalore/base.h"
#include "qgalore/base/fault.h"

typedef struct {
  const char *path;
  qg_ckpt_plan *plan;
  const qg_ckpt_part *part;
  hid_t file, links, inside; /* inside: how a dataset in this file is made */
} skeleton;

static qg_status file_access(const char *path, hid_t *out)
{
  QG_H5(path, *out = H5Pcreate(H5P_FILE_ACCESS));
  /* The 1.8 format has checksums on its own structures. */
  QG_H5(path, H5Pset_libver_bounds(*out, H5F_LIBVER_V18, H5F_LIBVER_V18));
  /* File systems without locks are common, and nobody else uses a file that has no final name. */
  QG_H5(path, H5Pset_file_locking(*out, 0, 1));
  return QG_OK;
}

static qg_status prepare(skeleton *s)
{
  qg_status status = QG_OK;
  hid_t access = -1;
  QG_TRY_OUT(file_access(s->path, &access));
  QG_H5_OUT(s->path, s->file = H5Fcreate(s->path, H5F_ACC_TRUNC, H5P_DEFAULT, access));
  QG_H5_OUT(s->path, s->links = H5Pcreate(H5P_LINK_CREATE));
  QG_H5_OUT(s->path, H5Pset_create_intermediate_group(s->links, 1));
  QG_H5_OUT(s->path, s->inside = H5Pcreate(H5P_DATASET_CREATE));
  QG_H5_OUT(s->path, H5Pset_alloc_time(s->inside, H5D_ALLOC_TIME_EARLY));
  /* Every byte will be written: filling first would write the file twice. */
  QG_H5_OUT(s->path, H5Pset_fill_time(s->inside, H5D_FILL_TIME_NEVER));
out:
  qg_h5_release(access);
  return status;
}

static qg_status create_table(const skeleton *s, const char *name, hid_t type, int64_t rows, int64_t columns,
                              hid_t create, hid_t *out)
{
  qg_status status = QG_OK;
  hsize_t shape[2] = {(hsize_t)rows, (hsize_t)columns};
  hid_t space = -1;
  QG_H5_OUT(s->path, space = H5Screate_simple(2, shape, NULL));
  QG_H5_OUT(s->path, *out = H5Dcreate2(s->file, name, type, space, s->links, create, H5P_DEFAULT));
out:
  qg_h5_release(space);
  return status;
}

/* Items that follow each other in the same part are one segment. */
static int64_t segment_end(const qg_ckpt_plan *plan, int dataset, int64_t item)
{
  const int32_t *owners = plan->owners + plan->places[dataset].first_item;
  int64_t end = item + 1;
  while (end < plan->layout.datasets[dataset].items && owners[end] == owners[item]) end++;
  return end;
}

static qg_status refer_to_parts(const skeleton *s, int dataset, hid_t create)
{
  const qg_ckpt_dataset *d = &s->plan->layout.datasets[dataset];
  int64_t first = s->plan->places[dataset].first_item;
  char name[QG_CKPT_PART_NAME];
  for (int64_t item = 0, end; item < d->items; item = end) {
    end = segment_end(s->plan, dataset, item);
    qg_ckpt_part_name(s->part, s->plan->owners[first + item], name);
    hsize_t bytes = (hsize_t)(end - item) * qg_ckpt_item_bytes(d);
    QG_H5(s->path, H5Pset_external(create, name, (off_t)s->plan->offsets[first + item], bytes));
  }
  return QG_OK;
}

static qg_status create_external(const skeleton *s, int dataset, hid_t *data)
{
  const qg_ckpt_dataset *d = &s->plan->layout.datasets[dataset];
  qg_status status = QG_OK;
  hid_t create = -1;
  QG_H5_OUT(s->path, create = H5Pcreate(H5P_DATASET_CREATE));
  QG_TRY_OUT(refer_to_parts(s, dataset, create));
  QG_TRY_OUT(create_table(s, d->name, qg_ckpt_h5_type(d->type), d->items, d->elements, create, data));
out:
  qg_h5_release(create);
  return status;
}

static qg_status create_data(const skeleton *s, int dataset, hid_t *data)
{
  const qg_ckpt_dataset *d = &s->plan->layout.datasets[dataset];
  if (s->plan->files == QG_CKPT_PER_RANK) return create_external(s, dataset, data);
  QG_TRY(create_table(s, d->name, qg_ckpt_h5_type(d->type), d->items, d->elements, s->inside, data));
  haddr_t address = H5Dget_offset(*data);
  QG_CHECK(address != HADDR_UNDEF, QG_ERR_CHECKPOINT, "%s: HDF5 gives no place to dataset \"%s\"", s->path,
           d->name);
  s->plan->places[dataset].address = (int64_t)address;
  return QG_OK;
}

static void name_sums(const qg_ckpt_dataset *dataset, char name[QG_CKPT_NAME])
{
  snprintf(name, QG_CKPT_NAME, "%s%s", dataset->name, QG_CKPT_CRC_SUFFIX);
}

static qg_status create_dataset(const skeleton *s, int dataset)
{
  const qg_ckpt_dataset *d = &s->plan->layout.datasets[dataset];
  char name[QG_CKPT_NAME];
  hid_t data = -1, sums = -1;
  qg_status status = QG_OK;
  name_sums(d, name);
  QG_TRY_OUT(create_data(s, dataset, &data));
  QG_TRY_OUT(qg_ckpt_attribute_write_text(data, s->path, "element", qg_dtype_name(d->type)));
  QG_TRY_OUT(
      create_table(s, name, H5T_STD_U32LE, d->items, s->plan->places[dataset].slabs, s->inside, &sums));
out:
  qg_h5_release(sums);
  qg_h5_release(data);
  return status;
}

/* The checksums, what HDF5 writes about the datasets, and in the shared layout all data. */
static int64_t room_needed(const qg_ckpt_plan *plan)
{
  int64_t bytes =
      (int64_t)sizeof(uint32_t) * plan->sums + ((int64_t)64 << 10) + (int64_t)plan->layout.count * 2048;
  for (int d = 0; d < plan->layout.count && plan->files == QG_CKPT_SHARED; d++)
    bytes += plan->layout.datasets[d].items * (int64_t)qg_ckpt_item_bytes(&plan->layout.datasets[d]);
  return bytes;
}

static qg_status fill(const skeleton *s, const qg_ckpt_header *header)
{
  QG_TRY(qg_ckpt_reserve(s->path, room_needed(s->plan)));
  QG_TRY(qg_ckpt_header_write(s->file, s->path, header));
  for (int i = 0; i < s->plan->layout.count; i++) QG_TRY(create_dataset(s, i));
  return QG_OK;
}

static qg_status close_file(hid_t file, const char *path, qg_status status)
{
  bool closed = H5Fclose(file) >= 0;
  if (status != QG_OK || closed) return status;
  return qg_h5_failure(path, "H5Fclose", __FILE__, __LINE__, __func__);
}

qg_status qg_ckpt_skeleton_make(const char *path, const qg_ckpt_header *header, qg_ckpt_plan *plan,
                                const qg_ckpt_part *part)
{
  skeleton s = {.path = path, .plan = plan, .part = part, .file = -1, .links = -1, .inside = -1};
  qg_status status = prepare(&s);
  if (status == QG_OK) status = fill(&s, header);
  qg_h5_release(s.inside);
  qg_h5_release(s.links);
  return s.file >= 0 ? close_file(s.file, path, status) : status;
}

static qg_status write_sums(hid_t file, const char *path, const qg_ckpt_plan *plan, const uint32_t *sums)
{
  for (int i = 0; i < plan->layout.count; i++) {
    char name[QG_CKPT_NAME];
    hid_t table = -1;
    name_sums(&plan->layout.datasets[i], name);
    QG_H5(path, table = H5Dopen2(file, name, H5P_DEFAULT));
    herr_t written =
        H5Dwrite(table, H5T_STD_U32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, sums + plan->places[i].first_sum);
    qg_h5_release(table);
    QG_H5(path, written);
  }
  return QG_OK;
}

/* Data and checksums first, then the mark: a file that says it is complete is. */
static qg_status complete(hid_t file, const char *path, const qg_ckpt_plan *plan, const uint32_t *sums)
{
  QG_TRY(write_sums(file, path, plan, sums));
  QG_H5(path, H5Fflush(file, H5F_SCOPE_GLOBAL));
  qg_fault("checkpoint.flushed");
  QG_TRY(qg_ckpt_header_complete(file, path));
  QG_H5(path, H5Fflush(file, H5F_SCOPE_GLOBAL));
  qg_fault("checkpoint.complete");
  return QG_OK;
}

static qg_status sync_file(const char *path)
{
  int file = open(path, O_RDONLY | O_CLOEXEC);
  bool synced = file >= 0 && fsync(file) == 0;
  int reason = errno;
  if (file >= 0) close(file);
  QG_CHECK(synced, QG_ERR_RESOURCE, "cannot write %s to disk: %s", path, strerror(reason));
  return QG_OK;
}

qg_status qg_ckpt_skeleton_complete(const char *path, const qg_ckpt_plan *plan, const uint32_t *sums)
{
  hid_t access = -1, file = -1;
  qg_status status = QG_OK;
  QG_TRY_OUT(file_access(path, &access));
  QG_H5_OUT(path, file = H5Fopen(path, H5F_ACC_RDWR, access));
  status = close_file(file, path, complete(file, path, plan, sums));
  if (status == QG_OK) status = sync_file(path);
  qg_fault("checkpoint.closed");
out:
  qg_h5_release(access);
  return status;
}

/* Datasets in the order of names; the plan has them in another. */
static qg_status check_place(void *context, const qg_ckpt_reader *reader)
{
  const qg_ckpt_plan *plan = context;
  int i = 0;
  while (i < plan->layout.count && strcmp(plan->layout.datasets[i].name, reader->name) != 0) i++;
  bool same = i < plan->layout.count && plan->layout.datasets[i].items == reader->items &&
              plan->layout.datasets[i].elements == reader->elements;
  if (same && plan->files == QG_CKPT_SHARED)
    same = H5Dget_offset(reader->data) == (haddr_t)plan->places[i].address;
  QG_CHECK(same, QG_ERR_CHECKPOINT, "%s: dataset \"%s\" is not where it was written", reader->file->path,
           reader->name);
  return QG_OK;
}

qg_status qg_ckpt_skeleton_check(const char *path, const qg_ckpt_plan *plan)
{
  qg_ckpt_file *file = NULL;
  QG_TRY(qg_ckpt_file_open(path, &file));
  qg_status status = qg_ckpt_file_walk(file, check_place, (void *)plan);
  qg_ckpt_file_close(file);
  return status;
}
