/* A tied embedding: lookups and the output head each give a part of its gradient, perhaps on two ranks that
 * both hold the weight. The parts stay separate until both are known, and are added once and in this order, so
 * that bits do not depend on the partition. */
#ifndef QG_OPTIM_TIED_H
#define QG_OPTIM_TIED_H

#include "optim/dense.h"

/* `sink` is filled but for its table. */
qg_status qg_tied_create_sink(const qg_grad_sink *sink, qg_grad_sink **out);

/* The part of the output head, f32 [rows, cols]. The part of the lookups is the sink's `accumulated`. */
qg_view qg_tied_head_part(const qg_grad_sink *sink);

#endif
