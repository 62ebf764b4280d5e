/* Indices, shapes and names of the parameters of a LLaMA. */
#include <stdio.h>

#include <string.h>

#include "model/llama/llama.h"
#include "model/llama/roles.h"

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

static int final_norm_index(const qg_model_shape *shape)
{
  return 1 + QG_LAYER_PARAMS * (int)shape->num_layers;
}

int qg_llama_param_count(const qg_model_shape *shape)
{
  return final_norm_index(shape) + (shape->tie_embeddings ? 1 : 2);
}

int qg_llama_param(const qg_model_shape *shape, qg_role role, int layer)
{
  switch (role) {
    case QG_ROLE_EMBED:
      return 0;
    case QG_ROLE_FINAL_NORM:
      return final_norm_index(shape);
    case QG_ROLE_HEAD:
      return shape->tie_embeddings ? 0 : final_norm_index(shape) + 1;
    default:
      return 1 + QG_LAYER_PARAMS * layer + (int)(role - QG_ROLE_ATTN_NORM);
  }
}

static qg_role role_of(const qg_model_shape *shape, int index)
{
  int last = final_norm_index(shape);
  if (index == 0) return QG_ROLE_EMBED;
  if (index >= last) return index == last ? QG_ROLE_FINAL_NORM : QG_ROLE_HEAD;
  return (qg_role)(QG_ROLE_ATTN_NORM + (index - 1) % QG_LAYER_PARAMS);
}

static qg_param_kind kind_of(qg_role role)
{
  switch (role) {
    case QG_ROLE_EMBED:
    case QG_ROLE_HEAD:
      return QG_PARAM_TABLE;
    case QG_ROLE_ATTN_NORM:
    case QG_ROLE_MLP_NORM:
    case QG_ROLE_FINAL_NORM:
      return QG_PARAM_VECTOR;
    default:
      return QG_PARAM_MATRIX;
  }
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
      return kind_of(role) == QG_PARAM_MATRIX ? shape->hidden_size : 1;
  }
}

/* Layers share a dataset: "model.embed_tokens.weight" -> "embed_tokens", "self_attn.q_proj.weight" ->
 * "self_attn.q_proj". */
static void name_dataset(const char *role_name, char *out, size_t size)
{
  const char *model = "model.", *weight = ".weight";
  if (strncmp(role_name, model, strlen(model)) == 0) role_name += strlen(model);
  snprintf(out, size, "%.*s", (int)(strlen(role_name) - strlen(weight)), role_name);
}

qg_param qg_llama_describe(const qg_model_shape *shape, int index)
{
  qg_role role = role_of(shape, index);
  bool in_layer = index > 0 && index < final_norm_index(shape);
  qg_param_kind kind = kind_of(role);
  qg_param param = {.id = index,
                    .kind = kind,
                    .layer = in_layer ? (index - 1) / QG_LAYER_PARAMS : -1,
                    .layers = in_layer ? (int)shape->num_layers : 1,
                    .rows = rows_of(shape, role),
                    .cols = role == QG_ROLE_DOWN ? shape->intermediate_size : shape->hidden_size,
                    .projectable = kind != QG_PARAM_VECTOR,
                    .decays = kind != QG_PARAM_VECTOR,
                    .looked_up = role == QG_ROLE_EMBED,
                    .multiplied = kind == QG_PARAM_MATRIX || role == QG_ROLE_HEAD,
                    .tied = role == QG_ROLE_EMBED && shape->tie_embeddings};
  param.in_parts = role == QG_ROLE_HEAD || param.tied;
  name_dataset(role_names[role], param.dataset, sizeof param.dataset);
  if (in_layer) snprintf(param.name, sizeof param.name, "model.layers.%d.%s", param.layer, role_names[role]);
  else
    snprintf(param.name, sizeof param.name, "%s", role_names[role]);
  return param;
}

bool qg_llama_holds(const qg_partition *part, const qg_param *param)
{
  if (param->layer >= 0)
    return param->layer >= part->first_layer && param->layer < part->first_layer + part->num_layers;
  if (param->looked_up) return part->has_embedding || (param->tied && part->has_head);
  return part->has_head;
}
