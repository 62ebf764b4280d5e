/* The matrix that is read next is unpacked while the product of the one before runs. */
#ifndef QG_WEIGHTS_PREFETCH_H
#define QG_WEIGHTS_PREFETCH_H

#include "weights/weights_private.h"

qg_status qg_weights_prefetch_param(void *impl, int param);
/* *found: the scratch holds the weight, for operations that are queued from here on. */
qg_status qg_weights_take_prefetched(qg_weights *weights, int param, bool *found);

#endif
