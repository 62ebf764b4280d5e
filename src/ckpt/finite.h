/* Numbers that are not finite have no place in a checkpoint: a run that resumed from them could never
 * recover. */
#ifndef QG_CKPT_FINITE_H
#define QG_CKPT_FINITE_H

#include <stdbool.h>
#include <stddef.h>

#include "qgalore/base/view.h"

/* Whether `bytes` of elements of a type hold only finite numbers; of f32 and bf16, the types of weights and
 * moments, of which every infinity and NaN has an exponent of ones. True for other types. Pure. */
bool qg_ckpt_is_finite(qg_dtype type, const void *data, size_t bytes);

#endif
