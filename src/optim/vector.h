/* The gradient of a vector, to which norm kernels add in fp32. */
#ifndef QG_OPTIM_VECTOR_H
#define QG_OPTIM_VECTOR_H

#include "optim/moments.h"

/* `sink` is filled but for its table. */
qg_status qg_vector_create(const qg_grad_sink *sink, qg_grad_sink **out);

#endif
