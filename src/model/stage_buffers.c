/* Which memory a stage takes, once, and which of it is shared. */
#include "model/stage_private.h"

/* Lays things out one after the other. Without a base it only counts, so one function both sizes and places.
 */
typedef struct {
  char *base;
  size_t used;
} carver;

enum { ALIGNMENT = 64 };

static void *carve(carver *from, size_t bytes)
{
  void *memory = from->base ? from->base + from->used : NULL;
  from->used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return memory;
}

static qg_view carve_view(carver *from, qg_dtype type, int64_t rows, int64_t cols)
{
  return qg_view_make(carve(from, qg_dtype_bytes(type, rows * cols)), type, rows, cols);
}

/* Everything that a layer keeps but its input. */
static void carve_layer(carver *from, const qg_stage *stage, layer_buffers *layer)
{
  const qg_model_shape *shape = &stage->shape;
  qg_dtype type = stage->be->compute;
  int64_t tokens = stage->tokens;
  layer->q = carve_view(from, type, tokens, shape->hidden_size);
  layer->k = carve_view(from, type, tokens, qg_kv_size(shape));
  layer->v = carve_view(from, type, tokens, qg_kv_size(shape));
  layer->attention = carve_view(from, type, tokens, shape->hidden_size);
  layer->mid = carve_view(from, type, tokens, shape->hidden_size);
  layer->gate = carve_view(from, type, tokens, shape->intermediate_size);
  layer->up = carve_view(from, type, tokens, shape->intermediate_size);
  layer->attn_rstd = carve(from, qg_dtype_bytes(QG_F32, tokens));
  layer->mlp_rstd = carve(from, qg_dtype_bytes(QG_F32, tokens));
  layer->lse = carve(from, qg_dtype_bytes(QG_F32, shape->num_heads * tokens));
}

/* The SwiGLU product is dead before the gradients of q, k and v are born. */
static void carve_wide(carver *from, qg_stage *stage)
{
  const qg_model_shape *shape = &stage->shape;
  qg_dtype type = stage->be->compute;
  carver product = *from, qkv = *from;
  stage->scratch.product = carve_view(&product, type, stage->tokens, shape->intermediate_size);
  stage->scratch.d_q = carve_view(&qkv, type, stage->tokens, shape->hidden_size);
  stage->scratch.d_k = carve_view(&qkv, type, stage->tokens, qg_kv_size(shape));
  stage->scratch.d_v = carve_view(&qkv, type, stage->tokens, qg_kv_size(shape));
  from->used = product.used > qkv.used ? product.used : qkv.used;
}

static void carve_logits(carver *from, qg_stage *stage)
{
  stage_scratch *scratch = &stage->scratch;
  int64_t rows = stage->options.loss_rows, vocab = stage->shape.vocab_size;
  scratch->logits = carve_view(from, QG_F32, rows, vocab);
  scratch->d_logits = scratch->logits;
  if (stage->be->compute != QG_F32) scratch->d_logits = carve_view(from, stage->be->compute, rows, vocab);
}

/* Layers and loss never run at the same time. Returns the bytes of the larger; places both when base is
 * given. */
static size_t place_shared(qg_stage *stage, char *base, layer_buffers *shared_layer)
{
  carver layers = {.base = base}, loss = {.base = base};
  if (stage->part.num_layers > 0) {
    carve_wide(&layers, stage);
    if (stage->options.checkpointing) carve_layer(&layers, stage, shared_layer);
  }
  if (stage->part.has_head) carve_logits(&loss, stage);
  return layers.used > loss.used ? layers.used : loss.used;
}

static qg_status take_stream(qg_stage *stage, qg_mem *mem, qg_owner owner, const char *what, qg_view *out)
{
  return qg_mem_view(mem, owner, what, stage->be->compute, stage->tokens, stage->shape.hidden_size, out);
}

static qg_status take_scratch(qg_stage *stage, qg_mem *mem, layer_buffers *shared_layer)
{
  stage_scratch *scratch = &stage->scratch;
  void *base = NULL;
  size_t shared = place_shared(stage, NULL, shared_layer);
  QG_TRY(qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "scratch of one layer or of the loss", shared, &base));
  place_shared(stage, base, shared_layer);
  if (stage->part.num_layers == 0 && !stage->part.has_head) return QG_OK;
  QG_TRY(take_stream(stage, mem, QG_OWNER_WORKSPACE, "output of a norm", &scratch->normed));
  QG_TRY(take_stream(stage, mem, QG_OWNER_WORKSPACE, "gradient of a norm's output", &scratch->d_normed));
  if (stage->part.has_head)
    QG_TRY(qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "final norm", qg_dtype_bytes(QG_F32, stage->tokens),
                        (void **)&scratch->final_rstd));
  return QG_OK;
}

static qg_status take_layer(qg_stage *stage, qg_mem *mem, const layer_buffers *shared, layer_buffers *layer)
{
  *layer = *shared;
  if (!stage->options.checkpointing) {
    carver size = {0}, place = {0};
    void *base = NULL;
    carve_layer(&size, stage, layer);
    QG_TRY(qg_mem_alloc(mem, QG_OWNER_ACTIVATIONS, "activations of a layer", size.used, &base));
    place.base = base;
    carve_layer(&place, stage, layer);
  }
  QG_TRY(take_stream(stage, mem, QG_OWNER_ACTIVATIONS, "input of a layer", &layer->input));
  return QG_OK;
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
  QG_TRY(take_stream(stage, mem, QG_OWNER_WORKSPACE, "output of the stage", &stage->output));
  for (int i = 0; i < stage->options.slots * stage->part.num_layers; i++)
    QG_TRY(take_layer(stage, mem, &shared_layer, &stage->layers[i]));
  for (int slot = 0; slot < stage->options.slots; slot++) {
    QG_TRY(take_input(stage, mem, slot));
    QG_TRY(take_d_output(stage, mem, slot));
  }
  return QG_OK;
}
