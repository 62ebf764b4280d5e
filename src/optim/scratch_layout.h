/* Scratch of the optimizer: as much as the largest parameter asks for, and which of it shares memory. */
#ifndef QG_OPTIM_SCRATCH_LAYOUT_H
#define QG_OPTIM_SCRATCH_LAYOUT_H

#include "optim/context.h"
#include "optim/scratch_sizes.h"

/* Projector, staging of updates, and the one piece that is used in turns. After the solvers were measured. */
qg_status qg_scratch_take(qg_optim_context *o, const qg_scratch_sizes *sizes, qg_shared_gradients *shared);

#endif
