/* The catalogue: ids, shapes and names of the parameters of a LLaMA. */
#include <stdio.h>

#include "qgalore/model.h"

/* Names as in Hugging Face checkpoints; those of a layer follow "model.layers.<n>.". */
static const char *const role_names[QG_ROLE_COUNT] = {
    [QG_ROLE_EMBED] = "model.embed_tokens.weight",
    [QG_ROLE_ATTN_NORM] = "input_layernorm.weight",
    [QG_ROLE_Q] = "self_attn.q_proj.weight",
    [QG_ROLE_K] = "self_attn.k_proj.weight",
    [QG_ROLE_V] = "self_attn.v_proj.weight",
    [QG_ROLE_O] = "self_attn.o_proj.weight",
    [QG_ROLE_MLP_NORM] = "post_attention_layernorm.weight",
    [QG_ROLE_GATE] = "mlp.gate_proj.weight",
    [QG_ROLE_UP] = "mlp.up_proj.weight",
    [QG_ROLE_DOWN] = "mlp.down_proj.weight",
    [QG_ROLE_FINAL_NORM] = "model.norm.weight",
    [QG_ROLE_HEAD] = "lm_head.weight",
};

static int final_norm_id(const qg_model_shape *shape)
{
  return 1 + QG_LAYER_PARAMS * (int)shape->num_layers;
}

int qg_param_count(const qg_model_shape *shape)
{
  return final_norm_id(shape) + (shape->tie_embeddings ? 1 : 2);
}

int qg_param_id(const qg_model_shape *shape, qg_role role, int layer)
{
  switch (role) {
    case QG_ROLE_EMBED:
      return 0;
    case QG_ROLE_FINAL_NORM:
      return final_norm_id(shape);
    case QG_ROLE_HEAD:
      return shape->tie_embeddings ? 0 : final_norm_id(shape) + 1;
    default:
      return 1 + QG_LAYER_PARAMS * layer + (int)(role - QG_ROLE_ATTN_NORM);
  }
}

static qg_role role_of(const qg_model_shape *shape, int id)
{
  int last = final_norm_id(shape);
  if (id == 0) return QG_ROLE_EMBED;
  if (id >= last) return id == last ? QG_ROLE_FINAL_NORM : QG_ROLE_HEAD;
  return (qg_role)(QG_ROLE_ATTN_NORM + (id - 1) % QG_LAYER_PARAMS);
}

static int64_t rows_of(const qg_model_shape *shape, qg_role role)
{
  switch (role) {
    case QG_ROLE_EMBED:
    case QG_ROLE_HEAD:
      return shape->vocab_size;
    case QG_ROLE_K:
    case QG_ROLE_V:
      return qg_kv_size(shape);
    case QG_ROLE_GATE:
    case QG_ROLE_UP:
      return shape->intermediate_size;
    default:
      return qg_role_is_matrix(role) ? shape->hidden_size : 1;
  }
}

qg_param qg_param_describe(const qg_model_shape *shape, int id)
{
  qg_role role = role_of(shape, id);
  bool in_layer = id > 0 && id < final_norm_id(shape);
  qg_param param = {.id = id, .role = role, .layer = in_layer ? (id - 1) / QG_LAYER_PARAMS : -1};
  param.rows = rows_of(shape, role);
  param.cols = role == QG_ROLE_DOWN ? shape->intermediate_size : shape->hidden_size;
  if (in_layer) snprintf(param.name, sizeof param.name, "model.layers.%d.%s", param.layer, role_names[role]);
  else
    snprintf(param.name, sizeof param.name, "%s", role_names[role]);
  return param;
}

int64_t qg_model_parameters(const qg_model_shape *shape)
{
  int64_t total = 0;
  for (int id = 0; id < qg_param_count(shape); id++) {
    qg_param param = qg_param_describe(shape, id);
    total += param.rows * param.cols;
  }
  return total;
}
