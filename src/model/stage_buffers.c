/* Which memory a stage takes, once, and which of it is shared. */
#include "model/stage_private.h"
#include "qgalore/base.h"

static qg_view carve_view(qg_carver *from, qg_dtype type, int64_t rows, int64_t cols)
{
  return qg_view_make(qg_carve(from, qg_dtype_bytes(type, rows * cols)), type, rows, cols);
}

static qg_view carve_intermediate(qg_carver *from, const qg_stage *stage)
{
  int64_t cols = stage->shape.intermediate_size;
  size_t bytes = qg_dtype_bytes(stage->be->compute, stage->tokens * qg_padded_stride(cols));
  return qg_view_make_padded(qg_carve(from, bytes), stage->be->compute, stage->tokens, cols);
}

static qg_view carve_stream(qg_carver *from, const qg_stage *stage)
{
  return carve_view(from, stage->be->compute, stage->tokens, stage->shape.hidden_size);
}

/* Backward of the MLP is done with gate and up before that of attention begins. */
static void carve_gate_and_up(qg_carver *from, const qg_stage *stage, layer_buffers *layer)
{
  const qg_model_shape *shape = &stage->shape;
  qg_dtype type = stage->be->compute;
  qg_carver gradients = *from;
  layer->gate = carve_intermediate(from, stage);
  layer->up = carve_intermediate(from, stage);
  layer->d_q = carve_stream(&gradients, stage);
  layer->d_k = carve_view(&gradients, type, stage->tokens, qg_kv_size(shape));
  layer->d_v = carve_view(&gradients, type, stage->tokens, qg_kv_size(shape));
  from->used = qg_max_size(from->used, gradients.used);
}

/* Everything that a layer keeps but its input. */
static void carve_layer(qg_carver *from, const qg_stage *stage, layer_buffers *layer)
{
  const qg_model_shape *shape = &stage->shape;
  qg_dtype type = stage->be->compute;
  int64_t tokens = stage->tokens;
  carve_gate_and_up(from, stage, layer);
  layer->q = carve_stream(from, stage);
  layer->k = carve_view(from, type, tokens, qg_kv_size(shape));
  layer->v = carve_view(from, type, tokens, qg_kv_size(shape));
  layer->attention = carve_stream(from, stage);
  layer->mid = carve_stream(from, stage);
  layer->attn_rstd = qg_carve(from, qg_dtype_bytes(QG_F32, tokens));
  layer->mlp_rstd = qg_carve(from, qg_dtype_bytes(QG_F32, tokens));
  layer->lse = qg_carve(from, qg_dtype_bytes(QG_F32, shape->num_heads * tokens));
}

static void carve_logits(qg_carver *from, qg_stage *stage)
{
  stage_scratch *scratch = &stage->scratch;
  int64_t rows = stage->options.loss_rows, vocab = stage->shape.vocab_size;
  scratch->logits = carve_view(from, QG_F32, rows, vocab);
  scratch->d_logits = scratch->logits;
  if (stage->be->compute != QG_F32) scratch->d_logits = carve_view(from, stage->be->compute, rows, vocab);
}

static void carve_norms(qg_carver *from, qg_stage *stage)
{
  if (stage->part.num_layers == 0 && !stage->part.has_head) return;
  stage->scratch.normed = carve_stream(from, stage);
  stage->scratch.d_normed = carve_stream(from, stage);
}

static void carve_product(qg_carver *from, qg_stage *stage)
{
  if (stage->part.num_layers == 0) return;
  stage->scratch.product = carve_intermediate(from, stage);
}

/* What passes over layers and the loss use in turn. A checkpointed layer is filled anew in backward, so its
 * buffers are among it:
 *
 *   a layer   [ gate, up; then d_q, d_k, d_v | q, k, v, attention, mid ][ normed, d_normed; or the product ]
 *   the loss  [ output | logits, d_logits                              ][ normed, d_normed ]
 *
 * Norms of the MLP's input end before its product begins, and those of backward begin after its end. The last
 * layer writes its output when gate and up have become the product. Returns the bytes; places all of it when
 * base is given. */
static size_t place_shared(qg_stage *stage, char *base, layer_buffers *shared_layer)
{
  qg_carver layer = {.base = base}, loss = layer;
  if (stage->part.num_layers > 0 && stage->options.checkpointing) carve_layer(&layer, stage, shared_layer);
  stage->output = carve_stream(&loss, stage);
  qg_carver product = {.base = base, .used = qg_max_size(layer.used, loss.used)};
  if (stage->part.has_head) carve_logits(&loss, stage);
  qg_carver norms = {.base = base, .used = qg_max_size(layer.used, loss.used)};
  carve_product(&product, stage);
  carve_norms(&norms, stage);
  return qg_max_size(product.used, norms.used);
}

static qg_status take_stream(qg_stage *stage, qg_mem *mem, qg_owner owner, const char *what, qg_view *out)
{
  return qg_mem_view(mem, owner, what, stage->be->compute, stage->tokens, stage->shape.hidden_size, out);
}

static qg_status take_scratch(qg_stage *stage, qg_mem *mem, layer_buffers *shared_layer)
{
  void *base = NULL;
  size_t shared = place_shared(stage, NULL, shared_layer);
  QG_TRY(qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "scratch of one layer or of the loss", shared, &base));
  place_shared(stage, base, shared_layer);
  if (!stage->part.has_head) return QG_OK;
  return qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "final norm", qg_dtype_bytes(QG_F32, stage->tokens),
                      (void **)&stage->scratch.final_rstd);
}

/* Each layer's own, or one that it shares with others (offload.h). */
static qg_status take_layer_input(qg_stage *stage, qg_mem *mem, int index, qg_view *input)
{
  const qg_view *shared = qg_offload_view(stage, index);
  if (!shared) return take_stream(stage, mem, QG_OWNER_ACTIVATIONS, "input of a layer", input);
  *input = *shared;
  return QG_OK;
}

static qg_status take_layer(qg_stage *stage, qg_mem *mem, const layer_buffers *shared, int index,
                            layer_buffers *layer)
{
  *layer = *shared;
  if (!stage->options.checkpointing) {
    qg_carver size = {0}, place = {0};
    void *base = NULL;
    carve_layer(&size, stage, layer);
    QG_TRY(qg_mem_alloc(mem, QG_OWNER_ACTIVATIONS, "activations of a layer", size.used, &base));
    place.base = base;
    carve_layer(&place, stage, layer);
  }
  return take_layer_input(stage, mem, index, &layer->input);
}

/* A stage without layers receives its input too, unless it makes it from tokens: then that is its output. */
static qg_status take_input(qg_stage *stage, qg_mem *mem, int slot)
{
  qg_view *input = &stage->inputs[slot];
  if (stage->part.num_layers > 0) *input = stage->layers[slot * stage->part.num_layers].input;
  else if (stage->part.has_embedding)
    *input = stage->output;
  else
    QG_TRY(take_stream(stage, mem, QG_OWNER_ACTIVATIONS, "input of the stage", input));
  return QG_OK;
}

/* Only the loss leaves a gradient that waits for its backward; elsewhere it arrives with the call. */
static qg_status take_d_output(qg_stage *stage, qg_mem *mem, int slot)
{
  qg_view *d_output = &stage->d_output[slot];
  qg_owner owner = stage->part.has_head ? QG_OWNER_ACTIVATIONS : QG_OWNER_WORKSPACE;
  if (slot > 0 && !stage->part.has_head) *d_output = stage->d_output[0];
  else
    QG_TRY(take_stream(stage, mem, owner, "gradient of the residual stream", d_output));
  return QG_OK;
}

static qg_status take_rope(qg_stage *stage, qg_mem *mem)
{
  int64_t entries = stage->options.sequence_length * qg_head_dim(&stage->shape) / 2;
  size_t bytes = qg_dtype_bytes(QG_F32, entries);
  QG_TRY(qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "rotary cosines", bytes, (void **)&stage->rope_cos));
  QG_TRY(qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "rotary sines", bytes, (void **)&stage->rope_sin));
  return QG_OK;
}

qg_status qg_stage_take_buffers(qg_stage *stage, qg_mem *mem)
{
  layer_buffers shared_layer = {0};
  QG_TRY(take_scratch(stage, mem, &shared_layer));
  if (stage->part.num_layers > 0) QG_TRY(take_rope(stage, mem));
  QG_TRY(qg_offload_take(stage, mem));
  for (int i = 0; i < stage->options.slots * stage->part.num_layers; i++)
    QG_TRY(take_layer(stage, mem, &shared_layer, i % stage->part.num_layers, &stage->layers[i]));
  for (int slot = 0; slot < stage->options.slots; slot++) {
    QG_TRY(take_input(stage, mem, slot));
    QG_TRY(take_d_output(stage, mem, slot));
  }
  return QG_OK;
}
