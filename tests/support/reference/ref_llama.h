/* A plain LLaMA in double precision: the loss, written for reading, the reference of the model's tests. */
#ifndef QG_TESTS_REF_LLAMA_H
#define QG_TESTS_REF_LLAMA_H

#include <stdint.h>

#include "qgalore/model.h"

/* The sum of -log softmax(logits)[target] over all tokens with target >= 0.
 * params[i] is the row-major parameter with that index. ids and targets [sequences, length]. */
double ref_llama_loss(const qg_model_shape *shape, double *const *params, int64_t sequences, int64_t length,
                      const int32_t *ids, const int32_t *targets);

#endif
