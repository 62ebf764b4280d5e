/* FLOPs of the pieces of a model, per token, forward and backward. */
#ifndef QGALORE_MODEL_FLOPS_H
#define QGALORE_MODEL_FLOPS_H

#include "qgalore/spec/model_shape.h"

/* One decoder layer: 6 per matrix element, and 6 C T for causal attention. */
double qg_llama_layer_flops(const qg_model_shape *shape, int64_t sequence_length);
/* The output head: 6 per element. */
double qg_llama_head_flops(const qg_model_shape *shape);

#endif
