#include "ckpt/snapshot.h"

#include <string.h>

static size_t bytes_of(const qg_ckpt_plan *plan, const qg_ckpt_piece *piece)
{
  return qg_ckpt_item_bytes(&plan->layout.datasets[piece->dataset]);
}

qg_status qg_ckpt_snapshot_begin(const qg_ckpt_plan *plan, qg_backend *be, qg_ckpt_piece *pieces,
                                 int64_t count, void *memory)
{
  char *to = memory;
  for (int64_t i = 0; i < count; i++) {
    pieces[i].copy = to;
    to += bytes_of(plan, &pieces[i]);
    if (pieces[i].on_device)
      QG_TRY(be->ops->copy_out(be, pieces[i].copy, pieces[i].data, bytes_of(plan, &pieces[i])));
  }
  return be->ops->sync(be);
}

void qg_ckpt_snapshot_copy(const qg_ckpt_plan *plan, qg_ckpt_piece *pieces, int64_t count)
{
  for (int64_t i = 0; i < count; i++) {
    if (!pieces[i].on_device) memcpy(pieces[i].copy, pieces[i].data, bytes_of(plan, &pieces[i]));
    pieces[i].data = pieces[i].copy;
    pieces[i].on_device = false;
  }
}
