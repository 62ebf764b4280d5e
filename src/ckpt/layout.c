#include "ckpt/layout.h"

#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/ckpt.h"

static qg_ckpt_dataset describe(const qg_state_entry *entry)
{
  bool packed = entry->type == QG_U4;
  qg_ckpt_dataset dataset = {
      .name = entry->dataset,
      .type = entry->type,
      .items = entry->items,
      .elements = packed ? (int64_t)qg_dtype_bytes(QG_U4, entry->elements) : entry->elements,
      .element_bytes = packed ? 1 : qg_dtype_bytes(entry->type, 1),
  };
  return dataset;
}

static qg_ckpt_dataset *find_dataset(const qg_ckpt_layout *layout, const char *name)
{
  /* Entries of one dataset stand close together: the last one found is the likely one. */
  for (int i = layout->count - 1; i >= 0; i--)
    if (strcmp(layout->datasets[i].name, name) == 0) return &layout->datasets[i];
  return NULL;
}

static qg_status add_entry(qg_ckpt_layout *layout, const qg_state_entry *entry)
{
  qg_ckpt_dataset dataset = describe(entry), *known = find_dataset(layout, entry->dataset);
  QG_CHECK(entry->item >= 0 && entry->item < entry->items && entry->elements > 0, QG_ERR_RUNTIME,
           "state \"%s\" has no item %lld of %lld", entry->dataset, (long long)entry->item,
           (long long)entry->items);
  if (!known) {
    layout->datasets[layout->count++] = dataset;
    return QG_OK;
  }
  QG_CHECK(
      known->type == dataset.type && known->items == dataset.items && known->elements == dataset.elements,
      QG_ERR_RUNTIME, "the items of the state \"%s\" differ in type or shape", entry->dataset);
  return QG_OK;
}

qg_status qg_ckpt_layout_make(const qg_state_entry *entries, int count, qg_ckpt_layout *out)
{
  qg_status status = QG_OK;
  void *memory;
  *out = (qg_ckpt_layout){0};
  QG_TRY(qg_calloc((size_t)count, sizeof(qg_ckpt_dataset), "the layout of a checkpoint", &memory));
  out->datasets = memory;
  for (int i = 0; i < count; i++) QG_TRY_OUT(add_entry(out, &entries[i]));
out:
  if (status != QG_OK) qg_ckpt_layout_free(out);
  return status;
}

void qg_ckpt_layout_free(qg_ckpt_layout *layout)
{
  free(layout->datasets);
  *layout = (qg_ckpt_layout){0};
}

hid_t qg_ckpt_h5_type(qg_dtype type)
{
  switch (type) {
    case QG_F32:
      return H5T_IEEE_F32LE;
    case QG_F64:
      return H5T_IEEE_F64LE;
    case QG_BF16:
      return H5T_STD_U16LE;
    case QG_I32:
      return H5T_STD_I32LE;
    case QG_U32:
      return H5T_STD_U32LE;
    case QG_I64:
      return H5T_STD_I64LE;
    case QG_U64:
      return H5T_STD_U64LE;
    default:
      return H5T_STD_U8LE;
  }
}

int64_t qg_ckpt_block_count(int64_t elements, size_t element_bytes, size_t block_bytes)
{
  return qg_ceil_div(elements, (int64_t)(block_bytes / element_bytes));
}

qg_ckpt_block qg_ckpt_block_at(int64_t elements, size_t element_bytes, size_t block_bytes, int64_t index)
{
  int64_t whole = (int64_t)(block_bytes / element_bytes), first = index * whole;
  int64_t count = qg_min_i64(whole, elements - first);
  qg_ckpt_block block = {first, count, (size_t)first * element_bytes, (size_t)count * element_bytes};
  return block;
}

int64_t qg_ckpt_bytes(const qg_state_entry *entries, int count)
{
  qg_ckpt_layout layout;
  int64_t bytes = 0;
  if (qg_ckpt_layout_make(entries, count, &layout) != QG_OK) return 0;
  for (int i = 0; i < layout.count; i++) {
    const qg_ckpt_dataset *d = &layout.datasets[i];
    bytes += d->items * d->elements * (int64_t)d->element_bytes;
  }
  qg_ckpt_layout_free(&layout);
  return bytes;
}

size_t qg_ckpt_snapshot_bytes(const qg_state_entry *entries, int count)
{
  size_t bytes = 0;
  for (int i = 0; i < count; i++)
    if (entries[i].owner) bytes += qg_dtype_bytes(entries[i].type, entries[i].elements);
  return bytes;
}

/* One block is staged at a time on its way from or to a device; host memory needs no more than a chunk. */
size_t qg_ckpt_buffer_bytes(const qg_backend *be, const qg_state_entry *entries, int count)
{
  size_t most = QG_CKPT_CHUNK;
  if (be->ops->unified_memory) return most;
  for (int i = 0; i < count; i++) {
    size_t bytes = qg_dtype_bytes(entries[i].type, entries[i].elements);
    if (bytes > most) most = bytes;
  }
  return most < QG_CKPT_BLOCK_BYTES ? most : QG_CKPT_BLOCK_BYTES;
}
