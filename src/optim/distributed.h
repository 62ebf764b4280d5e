/* A wide matrix whose subspace all ranks solve together. Its sink exists on every rank; only the owner's has
 * memory. */
#ifndef QG_OPTIM_DISTRIBUTED_H
#define QG_OPTIM_DISTRIBUTED_H

#include "optim/accumulated.h"
#include "qgalore/par.h"

/* `sink` is filled but for its table. */
qg_status qg_distributed_create(const qg_grad_sink *sink, qg_grad_sink **out);

/* The ranks tell each other who holds which of these sinks and when it is due. Collective; nothing is sent if
 * there is none. */
qg_status qg_distributed_share(qg_grad_sink *const *sinks, int count, qg_par *par);
/* Solves those that are due at this step. Collective. */
qg_status qg_distributed_refresh(qg_grad_sink *const *sinks, int count, qg_par *par);

#endif
