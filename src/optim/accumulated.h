/* A gradient that lives in its subspace, but is accumulated in full over the micro-batches of a step in which
 * the subspace is due: where a refresh has to see the whole batch, and where gradients come in parts. */
#ifndef QG_OPTIM_ACCUMULATED_H
#define QG_OPTIM_ACCUMULATED_H

#include "optim/projected.h"

/* `sink` is filled but for its table. */
qg_status qg_accumulated_create(const qg_grad_sink *sink, qg_grad_sink **out);

/* For sinks that accumulate and something more. Clears what this step adds to; p->pending is known. */
qg_status qg_accumulated_begin(qg_projected *p);
extern const qg_grad_sink_ops qg_accumulated_ops;

#endif
