#include "ckpt/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/attributes.h"
#include "ckpt/h5_check.h"
#include "qgalore/base.h"

/* What one rank has to write of one dataset: the slabs of its items, counted through. */
typedef struct {
  const qg_ckpt_writer *writer;
  const qg_ckpt_dataset *dataset;
  const qg_state_entry **items; /* [count], by item number */
  int64_t count, slabs;         /* items; slabs per item */
  int64_t next;                 /* first slab not yet written, < count * slabs */
  uint32_t *sums;               /* [count * slabs] */
  hid_t data, sums_table;
} share;

static qg_ckpt_slab slab_of(const share *s, int64_t number)
{
  const qg_ckpt_dataset *d = s->dataset;
  return qg_ckpt_slab_at(d->elements, d->element_bytes, s->writer->slab_bytes, number % s->slabs);
}

/* The end of the batch that begins at `first`: as many slabs as the staging memory holds. */
static int64_t batch_end(const share *s, int64_t first)
{
  size_t bytes = 0;
  int64_t end = first;
  while (end < s->count * s->slabs && bytes + slab_of(s, end).bytes <= s->writer->slab_bytes)
    bytes += slab_of(s, end++).bytes;
  return end;
}

static int64_t count_batches(const share *s)
{
  int64_t batches = 0;
  for (int64_t next = 0; next < s->count * s->slabs; batches++) next = batch_end(s, next);
  return batches;
}

static qg_status fetch(const share *s, const qg_state_entry *entry, qg_ckpt_slab slab, char *to)
{
  qg_backend *be = s->writer->be;
  const char *from = (const char *)entry->data + slab.offset;
  if (entry->on_device && !be->ops->unified_memory) return be->ops->copy_out(be, to, from, slab.bytes);
  memcpy(to, from, slab.bytes);
  return QG_OK;
}

/* Copies the slabs of a batch into the staging memory, one behind the other, and sums them up. What is summed
 * is what is written, even if somebody changed the state meanwhile. */
static qg_status stage_batch(share *s, int64_t end)
{
  char *to = s->writer->staging;
  for (int64_t number = s->next; number < end; number++) {
    qg_ckpt_slab slab = slab_of(s, number);
    QG_TRY(fetch(s, s->items[number / s->slabs], slab, to));
    s->sums[number] = qg_crc32c(0, to, slab.bytes);
    to += slab.bytes;
  }
  return QG_OK;
}

/* Adds a run of elements of one item to a selection that is still empty or already begun. */
static qg_status select_run(const share *s, hid_t space, int64_t item, int64_t first, int64_t elements)
{
  hsize_t start[2] = {(hsize_t)item, (hsize_t)first}, block[2] = {1, (hsize_t)elements};
  static const hsize_t once[2] = {1, 1};
  QG_H5(s->writer->path, H5Sselect_hyperslab(space, H5S_SELECT_OR, start, NULL, once, block));
  return QG_OK;
}

static qg_status select_batch(const share *s, hid_t space, int64_t end, int64_t *elements)
{
  for (int64_t number = s->next; number < end; number++) {
    qg_ckpt_slab slab = slab_of(s, number);
    QG_TRY(select_run(s, space, s->items[number / s->slabs]->item, slab.first, slab.elements));
    *elements += slab.elements;
  }
  return QG_OK;
}

/* The collective write of `elements` selected elements; with 0 a rank takes part without writing. */
static qg_status write_selected(const share *s, hid_t table, hid_t type, hid_t selected, int64_t elements,
                                const void *values)
{
  qg_status status = QG_OK;
  hsize_t length = elements > 0 ? (hsize_t)elements : 1;
  hid_t memory = H5Screate_simple(1, &length, NULL);
  if (elements == 0) {
    H5Sselect_none(selected);
    H5Sselect_none(memory);
  }
  QG_H5_OUT(s->writer->path, H5Dwrite(table, type, memory, selected, s->writer->transfer, values));
out:
  qg_h5_release(memory);
  return status;
}

/* Writes the next batch, or nothing if there is none or it cannot be staged. */
static qg_status write_batch(share *s)
{
  int64_t end = batch_end(s, s->next), elements = 0;
  hid_t selected = H5Dget_space(s->data);
  H5Sselect_none(selected);
  qg_status status = stage_batch(s, end);
  if (status == QG_OK) status = select_batch(s, selected, end, &elements);
  if (status != QG_OK) elements = 0;
  qg_status written =
      write_selected(s, s->data, qg_ckpt_h5_type(s->dataset->type), selected, elements, s->writer->staging);
  s->next = end;
  qg_h5_release(selected);
  return status != QG_OK ? status : written;
}

static qg_status write_sums(const share *s)
{
  qg_status status = QG_OK;
  hid_t selected = H5Dget_space(s->sums_table);
  H5Sselect_none(selected);
  for (int64_t i = 0; i < s->count && status == QG_OK; i++)
    status = select_run(s, selected, s->items[i]->item, 0, s->slabs);
  int64_t elements = status == QG_OK ? s->count * s->slabs : 0;
  qg_status written = write_selected(s, s->sums_table, H5T_STD_U32LE, selected, elements, s->sums);
  qg_h5_release(selected);
  return status != QG_OK ? status : written;
}

static qg_status create_table(const qg_ckpt_writer *w, const char *name, hid_t type, int64_t rows,
                              int64_t columns, hid_t *out)
{
  qg_status status = QG_OK;
  hsize_t shape[2] = {(hsize_t)rows, (hsize_t)columns};
  hid_t space = -1, links = -1, create = -1;
  QG_H5_OUT(w->path, space = H5Screate_simple(2, shape, NULL));
  QG_H5_OUT(w->path, links = H5Pcreate(H5P_LINK_CREATE));
  QG_H5_OUT(w->path, H5Pset_create_intermediate_group(links, 1));
  QG_H5_OUT(w->path, create = H5Pcreate(H5P_DATASET_CREATE));
  /* Every byte will be written: filling first would write the file twice. */
  QG_H5_OUT(w->path, H5Pset_fill_time(create, H5D_FILL_TIME_NEVER));
  QG_H5_OUT(w->path, *out = H5Dcreate2(w->file, name, type, space, links, create, H5P_DEFAULT));
out:
  qg_h5_release(create);
  qg_h5_release(links);
  qg_h5_release(space);
  return status;
}

static qg_status create_tables(share *s)
{
  const qg_ckpt_writer *w = s->writer;
  const qg_ckpt_dataset *d = s->dataset;
  char name[QG_CKPT_NAME];
  snprintf(name, sizeof name, "%s%s", d->name, QG_CKPT_CRC_SUFFIX);
  QG_TRY(create_table(w, d->name, qg_ckpt_h5_type(d->type), d->items, d->elements, &s->data));
  QG_TRY(qg_ckpt_attribute_write_text(s->data, w->path, "element", qg_dtype_name(d->type)));
  return create_table(w, name, H5T_STD_U32LE, d->items, s->slabs, &s->sums_table);
}

static int by_item(const void *a, const void *b)
{
  int64_t x = (*(const qg_state_entry *const *)a)->item, y = (*(const qg_state_entry *const *)b)->item;
  return (x > y) - (x < y);
}

static qg_status collect(share *s, const qg_state_entry *entries, int count)
{
  const qg_ckpt_dataset *d = s->dataset;
  void *items = NULL, *sums = NULL;
  QG_TRY(qg_calloc((size_t)count, sizeof *s->items, "the items of a dataset", &items));
  s->items = items;
  for (int i = 0; i < count; i++)
    if (entries[i].owner && strcmp(entries[i].dataset, d->name) == 0) s->items[s->count++] = &entries[i];
  /* HDF5 walks a selection in the order of the file, so memory must have that order too. */
  qsort(s->items, (size_t)s->count, sizeof *s->items, by_item);
  QG_TRY(qg_calloc((size_t)(s->count * s->slabs), sizeof *s->sums, "the checksums of a dataset", &sums));
  s->sums = sums;
  return QG_OK;
}

static qg_status write_tables(share *s)
{
  qg_status status = QG_OK;
  double batches = (double)count_batches(s);
  QG_TRY(qg_par_max(s->writer->par, &batches, 1));
  for (int64_t i = 0; i < (int64_t)batches; i++) {
    qg_status written = write_batch(s);
    if (status == QG_OK) status = written;
  }
  qg_status written = write_sums(s);
  return status != QG_OK ? status : written;
}

qg_status qg_ckpt_write_dataset(const qg_ckpt_writer *w, const qg_ckpt_dataset *d,
                                const qg_state_entry *entries, int count)
{
  qg_status status = QG_OK;
  share s = {.writer = w, .dataset = d, .data = -1, .sums_table = -1};
  s.slabs = qg_ckpt_slab_count(d->elements, d->element_bytes, w->slab_bytes);
  QG_TRY_OUT(qg_par_agree(w->par, collect(&s, entries, count)));
  QG_TRY_OUT(qg_par_agree(w->par, create_tables(&s)));
  QG_TRY_OUT(qg_par_agree(w->par, write_tables(&s)));
out:
  qg_h5_release(s.sums_table);
  qg_h5_release(s.data);
  free(s.sums);
  free(s.items);
  return status;
}
