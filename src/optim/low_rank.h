/* A gradient that lives in its subspace: G of a micro-batch is formed, or used implicitly, only when the
 * subspace is due. */
#ifndef QG_OPTIM_LOW_RANK_H
#define QG_OPTIM_LOW_RANK_H

#include "optim/projected.h"

/* `sink` is filled but for its table; route: QG_REFRESH_FULL or QG_REFRESH_IMPLICIT. */
qg_status qg_low_rank_create(const qg_grad_sink *sink, qg_refresh_route route, qg_grad_sink **out);

#endif
