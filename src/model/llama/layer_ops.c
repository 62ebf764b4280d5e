#include "model/llama/layer_ops.h"

enum { MATRICES = 7 };

static const qg_role forward_order[MATRICES] = {QG_ROLE_Q,    QG_ROLE_K,  QG_ROLE_V,   QG_ROLE_O,
                                                QG_ROLE_GATE, QG_ROLE_UP, QG_ROLE_DOWN};
static const qg_role backward_order[MATRICES] = {QG_ROLE_DOWN, QG_ROLE_GATE, QG_ROLE_UP, QG_ROLE_O,
                                                 QG_ROLE_Q,    QG_ROLE_K,    QG_ROLE_V};

static qg_status norm_role(const layer_pass *pass, qg_role role, qg_view x, float *rstd)
{
  const qg_llama_stage *stage = pass->stage;
  return qg_norm_forward(stage->be, pass->weights, qg_layer_param(pass, role),
                         (float)stage->shape.rms_norm_eps, x, rstd, stage->scratch.normed);
}

int qg_layer_next(const layer_pass *pass, qg_role role)
{
  const qg_role *order = pass->backward ? backward_order : forward_order;
  if (pass->attention_only && role == QG_ROLE_O) return pass->after;
  for (int i = 0; i + 1 < MATRICES; i++)
    if (order[i] == role) return qg_layer_param(pass, order[i + 1]);
  return pass->after;
}

qg_status qg_layer_norm_input(const layer_pass *pass)
{
  return norm_role(pass, QG_ROLE_ATTN_NORM, pass->kept->input, pass->kept->attn_rstd);
}

qg_status qg_layer_norm_mid(const layer_pass *pass)
{
  return norm_role(pass, QG_ROLE_MLP_NORM, pass->kept->mid, pass->kept->mlp_rstd);
}

qg_status qg_layer_rotate(const layer_pass *pass, qg_view q, qg_view k, bool inverse)
{
  const qg_llama_stage *stage = pass->stage;
  qg_rope_args rope = {.x = q,
                       .cos = stage->rope_cos,
                       .sin = stage->rope_sin,
                       .sequence_length = stage->options.sequence_length,
                       .heads = stage->shape.num_heads,
                       .head_dim = qg_head_dim(&stage->shape),
                       .inverse = inverse};
  QG_TRY(stage->be->ops->rope(stage->be, &rope));
  rope.x = k;
  rope.heads = stage->shape.num_kv_heads;
  QG_TRY(stage->be->ops->rope(stage->be, &rope));
  return QG_OK;
}

qg_attention_args qg_layer_attention(const layer_pass *pass)
{
  const qg_llama_stage *stage = pass->stage;
  const layer_buffers *kept = pass->kept;
  return (qg_attention_args){.q = kept->q,
                             .k = kept->k,
                             .v = kept->v,
                             .o = kept->attention,
                             .lse = kept->lse,
                             .sequence_length = stage->options.sequence_length,
                             .heads = stage->shape.num_heads,
                             .kv_heads = stage->shape.num_kv_heads,
                             .head_dim = qg_head_dim(&stage->shape)};
}
