/* Due subspaces on a device that solves them itself: gradient, basis and moments stay where they are. */
#ifndef QG_OPTIM_REFRESH_DEVICE_H
#define QG_OPTIM_REFRESH_DEVICE_H

#include "optim/refresher.h"

/* *done false: the host has to solve it. */
qg_status qg_refresh_on_device(qg_projected *p, bool *done);
/* The seed of random vectors: one of its own for every (run, step, matrix), whichever rank solves it. */
uint64_t qg_refresh_seed(const qg_projected *p);

#endif
