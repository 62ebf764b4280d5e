/* Attention in bf16 on processors with products of bf16 (panel.h); the contracts are those of
 * qgalore/backend.h. */
#ifndef QG_BACKEND_CPU_BF16_ATTENTION_H
#define QG_BACKEND_CPU_BF16_ATTENTION_H

#include "qgalore/backend.h"

/* The shared scratch; each thread takes an equal part. */
size_t qg_attention_bf16_workspace(int threads, int64_t sequence_length, int64_t keys, int64_t head_dim);

/* All views bf16; qg_panels() is not NULL. */
qg_status qg_attention_bf16(qg_backend *be, const qg_attention_args *args);
qg_status qg_attention_backward_bf16(qg_backend *be, const qg_attention_args *args);

#endif
