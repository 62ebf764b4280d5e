#include "ckpt/local_items.h"

#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"

static int by_number(const void *a, const void *b)
{
  const qg_ckpt_local_item *x = a, *y = b;
  if (x->dataset != y->dataset) return x->dataset - y->dataset;
  return (x->item > y->item) - (x->item < y->item);
}

qg_status qg_ckpt_local_items_make(const qg_ckpt_placement *placement, const qg_backend *be,
                                   const qg_state_entry *entries, int count, qg_ckpt_local_items *out)
{
  void *memory;
  *out = (qg_ckpt_local_items){0};
  QG_TRY(qg_calloc((size_t)count, sizeof *out->items, "the items of a checkpoint", &memory));
  out->items = memory;
  for (int i = 0; i < count; i++) {
    const qg_state_entry *e = &entries[i];
    if (!e->owner) continue;
    out->items[out->count++] = (qg_ckpt_local_item){.data = e->data,
                                                    .on_device = e->on_device && !be->ops->unified_memory,
                                                    .dataset = qg_ckpt_placement_find(placement, e->dataset),
                                                    .item = e->item};
  }
  qsort(out->items, (size_t)out->count, sizeof *out->items, by_number);
  return QG_OK;
}

void qg_ckpt_local_items_free(qg_ckpt_local_items *local)
{
  free(local->items);
  *local = (qg_ckpt_local_items){0};
}

static size_t bytes_of(const qg_ckpt_placement *placement, const qg_ckpt_local_item *item)
{
  return qg_ckpt_item_bytes(&placement->layout.datasets[item->dataset]);
}

qg_status qg_ckpt_local_items_copy_device(const qg_ckpt_placement *placement, qg_backend *be,
                                          const qg_ckpt_local_items *local, void *snapshot)
{
  char *to = snapshot;
  for (int64_t i = 0; i < local->count; i++) {
    qg_ckpt_local_item *item = &local->items[i];
    item->copy = to;
    to += bytes_of(placement, item);
    if (item->on_device) QG_TRY(be->ops->copy_out(be, item->copy, item->data, bytes_of(placement, item)));
  }
  return be->ops->sync(be);
}

void qg_ckpt_local_items_copy_host(const qg_ckpt_placement *placement, const qg_ckpt_local_items *local)
{
  for (int64_t i = 0; i < local->count; i++) {
    qg_ckpt_local_item *item = &local->items[i];
    if (!item->on_device) memcpy(item->copy, item->data, bytes_of(placement, item));
    item->data = item->copy;
    item->on_device = false;
  }
}
