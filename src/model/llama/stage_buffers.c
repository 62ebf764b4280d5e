/* Which memory a stage takes, once, and which of it is shared. */
#include "model/llama/offload.h"
#include "model/llama/stage_private.h"
#include "qgalore/base.h"

static qg_view place_view(qg_mem_cursor *from, qg_dtype type, int64_t rows, int64_t cols)
{
  return qg_view_make(qg_mem_place(from, qg_dtype_bytes(type, rows * cols)), type, rows, cols);
}

static qg_view place_intermediate(qg_mem_cursor *from, const qg_llama_stage *stage)
{
  int64_t cols = stage->shape.intermediate_size;
  size_t bytes = qg_dtype_bytes(stage->be->compute, stage->tokens * qg_padded_stride(cols));
  return qg_view_make_padded(qg_mem_place(from, bytes), stage->be->compute, stage->tokens, cols);
}

static qg_view place_stream(qg_mem_cursor *from, const qg_llama_stage *stage)
{
  return place_view(from, stage->be->compute, stage->tokens, stage->shape.hidden_size);
}

/* Whether one set of buffers serves all layers, because backward fills it again or does not come. */
static bool shares_layers(const qg_llama_stage *stage)
{
  return stage->options.checkpointing || stage->options.forward_only;
}

/* Backward of the MLP is done with gate and up before that of attention begins. */
static void place_gate_and_up(qg_mem_cursor *from, const qg_llama_stage *stage, layer_buffers *layer)
{
  const qg_model_shape *shape = &stage->shape;
  qg_dtype type = stage->be->compute;
  qg_mem_cursor gradients = *from;
  layer->gate = place_intermediate(from, stage);
  layer->up = place_intermediate(from, stage);
  if (stage->options.forward_only) return;
  layer->d_q = place_stream(&gradients, stage);
  layer->d_k = place_view(&gradients, type, stage->tokens, qg_kv_size(shape));
  layer->d_v = place_view(&gradients, type, stage->tokens, qg_kv_size(shape));
  from->used = qg_max_size(from->used, gradients.used);
}

/* Everything that a layer keeps but its input. */
static void place_layer(qg_mem_cursor *from, const qg_llama_stage *stage, layer_buffers *layer)
{
  const qg_model_shape *shape = &stage->shape;
  qg_dtype type = stage->be->compute;
  int64_t tokens = stage->tokens;
  place_gate_and_up(from, stage, layer);
  layer->q = place_stream(from, stage);
  layer->k = place_view(from, type, tokens, qg_kv_size(shape));
  layer->v = place_view(from, type, tokens, qg_kv_size(shape));
  layer->attention = place_stream(from, stage);
  layer->mid = place_stream(from, stage);
  layer->attn_rstd = qg_mem_place(from, qg_dtype_bytes(QG_F32, tokens));
  layer->mlp_rstd = qg_mem_place(from, qg_dtype_bytes(QG_F32, tokens));
  layer->lse = qg_mem_place(from, qg_dtype_bytes(QG_F32, shape->num_heads * tokens));
}

static void place_logits(qg_mem_cursor *from, qg_llama_stage *stage)
{
  stage_scratch *scratch = &stage->scratch;
  int64_t rows = stage->options.logit_chunk_tokens, vocab = stage->shape.vocab_size;
  scratch->logits = place_view(from, QG_F32, rows, vocab);
  scratch->d_logits = scratch->logits;
  if (stage->be->compute != QG_F32 && !stage->options.forward_only)
    scratch->d_logits = place_view(from, stage->be->compute, rows, vocab);
}

static void place_norms(qg_mem_cursor *from, qg_llama_stage *stage)
{
  if (stage->part.num_layers == 0 && !stage->part.has_head) return;
  stage->scratch.normed = place_stream(from, stage);
  if (!stage->options.forward_only) stage->scratch.d_normed = place_stream(from, stage);
}

static void place_product(qg_mem_cursor *from, qg_llama_stage *stage)
{
  if (stage->part.num_layers == 0) return;
  stage->scratch.product = place_intermediate(from, stage);
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
static size_t place_shared(qg_llama_stage *stage, char *base, layer_buffers *shared_layer)
{
  qg_mem_cursor layer = {.base = base}, loss = layer;
  if (stage->part.num_layers > 0 && shares_layers(stage)) place_layer(&layer, stage, shared_layer);
  stage->output = place_stream(&loss, stage);
  qg_mem_cursor product = {.base = base, .used = qg_max_size(layer.used, loss.used)};
  if (stage->part.has_head) place_logits(&loss, stage);
  qg_mem_cursor norms = {.base = base, .used = qg_max_size(layer.used, loss.used)};
  place_product(&product, stage);
  place_norms(&norms, stage);
  return qg_max_size(product.used, norms.used);
}

static qg_status take_stream(qg_llama_stage *stage, qg_mem *mem, qg_owner owner, const char *what,
                             qg_view *out)
{
  return qg_mem_view(mem, owner, what, stage->be->compute, stage->tokens, stage->shape.hidden_size, out);
}

static qg_status take_scratch(qg_llama_stage *stage, qg_mem *mem, layer_buffers *shared_layer)
{
  void *base = NULL;
  size_t shared = place_shared(stage, NULL, shared_layer);
  QG_TRY(qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "scratch of one layer or of the loss", shared, &base));
  place_shared(stage, base, shared_layer);
  if (!stage->part.has_head) return QG_OK;
  return qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "final norm", qg_dtype_bytes(QG_F32, stage->tokens),
                      (void **)&stage->scratch.final_rstd);
}

/* Each layer's own, or one that it shares with others: of an offload (offload.h), or, where no backward
 * follows, every second one is the same, so that a layer reads one and writes the other. */
static qg_status take_layer_input(qg_llama_stage *stage, qg_mem *mem, int index, qg_view *input)
{
  const qg_view *shared = qg_offload_view(stage, index);
  if (stage->options.forward_only && index >= 2) shared = &stage->layers[index - 2].input;
  if (!shared) return take_stream(stage, mem, QG_OWNER_ACTIVATIONS, "input of a layer", input);
  *input = *shared;
  return QG_OK;
}

static qg_status take_layer(qg_llama_stage *stage, qg_mem *mem, const layer_buffers *shared, int index,
                            layer_buffers *layer)
{
  *layer = *shared;
  if (!shares_layers(stage)) {
    qg_mem_cursor size = {0}, place = {0};
    void *base = NULL;
    place_layer(&size, stage, layer);
    QG_TRY(qg_mem_alloc(mem, QG_OWNER_ACTIVATIONS, "activations of a layer", size.used, &base));
    place.base = base;
    place_layer(&place, stage, layer);
  }
  return take_layer_input(stage, mem, index, &layer->input);
}

/* A stage without layers receives its input too, unless it makes it from tokens: then that is its output. */
static qg_status take_input(qg_llama_stage *stage, qg_mem *mem, int slot)
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
static qg_status take_d_output(qg_llama_stage *stage, qg_mem *mem, int slot)
{
  if (stage->options.forward_only) return QG_OK;
  qg_view *d_output = &stage->d_output[slot];
  qg_owner owner = stage->part.has_head ? QG_OWNER_ACTIVATIONS : QG_OWNER_WORKSPACE;
  if (slot > 0 && !stage->part.has_head) *d_output = stage->d_output[0];
  else
    QG_TRY(take_stream(stage, mem, owner, "gradient of the residual stream", d_output));
  return QG_OK;
}

static qg_status take_rope(qg_llama_stage *stage, qg_mem *mem)
{
  int64_t entries = stage->options.sequence_length * qg_head_dim(&stage->shape) / 2;
  size_t bytes = qg_dtype_bytes(QG_F32, entries);
  QG_TRY(qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "rotary cosines", bytes, (void **)&stage->rope_cos));
  QG_TRY(qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "rotary sines", bytes, (void **)&stage->rope_sin));
  return QG_OK;
}

qg_status qg_llama_take_buffers(qg_llama_stage *stage, qg_mem *mem)
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
