/* Due subspaces: from the gradient of a matrix to its new projector, on the host or on a device that solves
 * them itself. */
#ifndef QG_OPTIM_REFRESH_H
#define QG_OPTIM_REFRESH_H

#include "optim/refresher.h"

/* Solves the subspaces of the first `count` <= wave sinks in refresher->pending: from G, or from the
 * implicit gradient. */
qg_status qg_refresh(qg_optim_context *o, int count, const qg_implicit_gradient *implicit);
/* The same of one, inside backward, unless the step is known to be void. */
qg_status qg_refresh_now(qg_projected *p, const qg_implicit_gradient *implicit);

/* Halves of a refresh on the host: describes job `job` for its pending sink; takes over what its job found,
 * or keeps the old basis. */
qg_status qg_refresh_prepare(qg_optim_context *o, int job, const qg_implicit_gradient *implicit);
qg_status qg_refresh_accept(qg_optim_context *o, int job);

#endif
