/* The shape of a LLaMA model: plain data, shared by the input keys and the model. */
#ifndef QGALORE_MODEL_SHAPE_H
#define QGALORE_MODEL_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
  int64_t hidden_size, intermediate_size, num_layers, num_heads, num_kv_heads, vocab_size;
  bool tie_embeddings;
  double rope_theta, rms_norm_eps;
} qg_model_shape;

static inline int64_t qg_head_dim(const qg_model_shape *s) { return s->hidden_size / s->num_heads; }
static inline int64_t qg_kv_size(const qg_model_shape *s) { return s->num_kv_heads * qg_head_dim(s); }

#endif
