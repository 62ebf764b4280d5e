/* Steps that a layer's forward and backward share. */
#ifndef QGALORE_MODEL_LAYER_OPS_H
#define QGALORE_MODEL_LAYER_OPS_H

#include "model/llama/linear.h"
#include "model/llama/stage_private.h"

static inline int qg_layer_param(const layer_pass *pass, qg_role role)
{
  return qg_llama_param(&pass->stage->shape, role, pass->layer);
}

/* The matrix that the pass reads after that of `role`; -1: none, or unknown. */
int qg_layer_next(const layer_pass *pass, qg_role role);
/* scratch.normed = norm(kept->input), with its rstd. */
qg_status qg_layer_norm_input(const layer_pass *pass);
/* scratch.normed = norm(kept->mid), with its rstd. */
qg_status qg_layer_norm_mid(const layer_pass *pass);
/* Turns queries and keys (or gradients of them, inverse) by their positions. */
qg_status qg_layer_rotate(const layer_pass *pass, qg_view q, qg_view k, bool inverse);
/* The arguments of forward attention. */
qg_attention_args qg_layer_attention(const layer_pass *pass);

#endif
