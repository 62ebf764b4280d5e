/* A copy of what a rank writes, so that the state may change while it is written. */
#ifndef QG_CKPT_SNAPSHOT_H
#define QG_CKPT_SNAPSHOT_H

#include "ckpt/plan.h"

/* Gives each piece its place in `memory`, one behind the other, and copies those on the device. Local. */
qg_status qg_ckpt_snapshot_begin(const qg_ckpt_plan *plan, qg_backend *be, qg_ckpt_piece *pieces,
                                 int64_t count, void *memory);

/* Copies those in host memory; from here on all pieces refer to their copies. Neither MPI nor the backend
 * takes part: a helper thread may do it. Local. */
void qg_ckpt_snapshot_copy(const qg_ckpt_plan *plan, qg_ckpt_piece *pieces, int64_t count);

#endif
