/* Creation of a pipeline stage, and its passes over one micro-batch. */
#include <stdlib.h>

#include "model/llama/flops.h"
#include "model/llama/llama.h"
#include "model/llama/offload.h"
#include "model/llama/rope_table.h"
#include "model/llama/stage_private.h"
#include "qgalore/base.h"

static qg_status check_shape(const qg_model_shape *shape)
{
  QG_CHECK(shape->num_heads > 0 && shape->hidden_size % shape->num_heads == 0, QG_ERR_INPUT,
           "%lld heads do not divide hidden_size %lld", (long long)shape->num_heads,
           (long long)shape->hidden_size);
  QG_CHECK(shape->num_kv_heads > 0 && shape->num_heads % shape->num_kv_heads == 0, QG_ERR_INPUT,
           "%lld key/value heads do not divide %lld heads", (long long)shape->num_kv_heads,
           (long long)shape->num_heads);
  QG_CHECK(qg_head_dim(shape) % 2 == 0, QG_ERR_INPUT,
           "%lld channels a head: rotary positions turn pairs, so hidden_size / num_heads must be even",
           (long long)qg_head_dim(shape));
  return QG_OK;
}

static qg_status check_options(const qg_stage_options *options)
{
  QG_CHECK(options->micro_batch >= 1 && options->sequence_length >= 1 && options->logit_chunk_tokens >= 1,
           QG_ERR_INPUT,
           "micro_batch %lld, sequence_length %lld and logit_chunk_tokens %lld must be at least 1",
           (long long)options->micro_batch, (long long)options->sequence_length,
           (long long)options->logit_chunk_tokens);
  QG_CHECK(options->slots >= 1, QG_ERR_RUNTIME, "a stage needs at least one slot, not %d", options->slots);
  QG_CHECK(!options->forward_only || options->slots == 1, QG_ERR_RUNTIME,
           "%d slots of a stage that only evaluates", options->slots);
  return QG_OK;
}

static qg_workload workload_of(const qg_model_shape *shape, const qg_stage_options *options)
{
  int64_t tokens = options->micro_batch * options->sequence_length;
  return (qg_workload){.tokens = tokens,
                       .sequence_length = options->sequence_length,
                       .hidden_size = shape->hidden_size,
                       .intermediate_size = shape->intermediate_size,
                       .num_heads = shape->num_heads,
                       .num_kv_heads = shape->num_kv_heads,
                       .vocab_size = shape->vocab_size,
                       .logit_chunk_tokens = qg_min_i64(options->logit_chunk_tokens, tokens)};
}

static qg_status fill_stage(qg_llama_stage *stage, qg_mem *mem)
{
  size_t slots = (size_t)stage->options.slots;
  size_t layers = slots * (size_t)stage->part.num_layers;
  QG_TRY(qg_calloc(layers, sizeof *stage->layers, "layers of a stage", (void **)&stage->layers));
  if (stage->options.graphs && stage->be->ops->async)
    QG_TRY(qg_calloc(layers, sizeof *stage->graphs, "graphs of a stage", (void **)&stage->graphs));
  QG_TRY(qg_calloc(slots, sizeof *stage->inputs, "slots of a stage", (void **)&stage->inputs));
  QG_TRY(qg_calloc(slots, sizeof *stage->d_output, "slots of a stage", (void **)&stage->d_output));
  QG_TRY(qg_llama_take_buffers(stage, mem));
  return QG_OK;
}

static void destroy(qg_stage *base)
{
  qg_llama_stage *stage = qg_llama_of(base);
  int graphs = stage->graphs ? stage->options.slots * stage->part.num_layers : 0;
  for (int i = 0; i < graphs; i++) stage->be->ops->async->destroy_graph(stage->be, stage->graphs[i].graph);
  qg_offload_close(stage);
  free(stage->graphs);
  free(stage->layers);
  free(stage->inputs);
  free(stage->d_output);
  free(stage);
}

static qg_status create(qg_mem *mem, qg_backend *be, const qg_model_shape *shape, const qg_partition *part,
                        const qg_stage_options *options, qg_stage **out)
{
  *out = NULL;
  QG_TRY(check_shape(shape));
  QG_TRY(check_options(options));
  qg_llama_stage *stage = NULL;
  QG_TRY(qg_calloc(1, sizeof *stage, "pipeline stage", (void **)&stage));
  *stage = (qg_llama_stage){
      .base = {&qg_llama_ops}, .be = be, .shape = *shape, .part = *part, .options = *options};
  qg_workload workload = workload_of(shape, options);
  stage->tokens = workload.tokens;
  stage->options.logit_chunk_tokens = workload.logit_chunk_tokens;
  qg_status status = fill_stage(stage, mem);
  if (status != QG_OK) {
    destroy(&stage->base);
    return status;
  }
  *out = &stage->base;
  return QG_OK;
}

static qg_status init(qg_stage *base)
{
  qg_llama_stage *stage = qg_llama_of(base);
  if (stage->part.num_layers == 0) return QG_OK;
  QG_TRY(qg_offload_init(stage));
  qg_status status = QG_OK;
  qg_backend *be = stage->be;
  int64_t positions = stage->options.sequence_length, head_dim = qg_head_dim(&stage->shape);
  size_t entries = (size_t)(positions * head_dim / 2), bytes = entries * sizeof(float);
  float *cosines = NULL, *sines = NULL;
  QG_TRY_OUT(qg_calloc(entries, sizeof *cosines, "rotary cosines", (void **)&cosines));
  QG_TRY_OUT(qg_calloc(entries, sizeof *sines, "rotary sines", (void **)&sines));
  qg_rope_table_fill(stage->shape.rope_theta, positions, head_dim, cosines, sines);
  QG_TRY_OUT(be->ops->copy_in(be, stage->rope_cos, cosines, bytes));
  QG_TRY_OUT(be->ops->copy_in(be, stage->rope_sin, sines, bytes));
  QG_TRY_OUT(be->ops->sync(be));
out:
  free(cosines);
  free(sines);
  return status;
}

static qg_view input(const qg_stage *base, int slot)
{
  return ((const qg_llama_stage *)base)->inputs[slot];
}

static qg_view output_gradient(const qg_stage *base, int slot)
{
  return ((const qg_llama_stage *)base)->d_output[slot];
}

qg_view qg_llama_hidden(const qg_llama_stage *stage, int slot, int index)
{
  int layers = stage->part.num_layers;
  if (index < layers) return stage->layers[slot * layers + index].input;
  return layers > 0 ? stage->output : stage->inputs[slot];
}

qg_status qg_llama_check_slot(const qg_llama_stage *stage, int slot)
{
  QG_CHECK(slot >= 0 && slot < stage->options.slots, QG_ERR_RUNTIME, "slot %d of a stage with %d slots", slot,
           stage->options.slots);
  return QG_OK;
}

static qg_status check_backward(const qg_llama_stage *stage, bool wanted)
{
  QG_CHECK(!wanted || !stage->options.forward_only, QG_ERR_RUNTIME,
           "backward on a stage that only evaluates");
  return QG_OK;
}

static layer_pass pass_over(const qg_llama_stage *stage, const qg_weight_reader *weights, int slot, int index)
{
  return (layer_pass){.stage = stage,
                      .weights = weights,
                      .kept = &stage->layers[slot * stage->part.num_layers + index],
                      .layer = stage->part.first_layer + index,
                      .after = -1};
}

/* The pass continues with another layer of this stage, which begins with this matrix. */
static void continue_with(layer_pass *pass, int index, qg_role first)
{
  const qg_llama_stage *stage = pass->stage;
  if (index >= 0 && index < stage->part.num_layers)
    pass->after = qg_llama_param(&stage->shape, first, stage->part.first_layer + index);
}

static qg_status embed_tokens(qg_llama_stage *stage, const qg_weight_reader *weights, const int32_t *ids,
                              qg_view out)
{
  qg_view table;
  QG_TRY(weights->read(weights->impl, qg_llama_param(&stage->shape, QG_ROLE_EMBED, -1), &table));
  return stage->be->ops->embed(stage->be, table, ids, out);
}

static void set_skip(qg_stage *base, qg_skip_sublayer *skip, void *context)
{
  qg_llama_stage *stage = qg_llama_of(base);
  stage->skip = skip;
  stage->skip_context = context;
}

static qg_status layer_forward(qg_llama_stage *stage, layer_pass *pass, int slot, int index, bool keep)
{
  qg_view output = qg_llama_hidden(stage, slot, index + 1);
  if (keep) QG_TRY(qg_offload_keep(stage, slot, index));
  QG_TRY(qg_offload_make_room(stage, slot, index + 1));
  if (!keep && stage->skip) return qg_layer_evaluate(pass, output);
  if (stage->graphs)
    return qg_layer_forward_by_graph(pass, &stage->graphs[slot * stage->part.num_layers + index], output);
  continue_with(pass, index + 1, QG_ROLE_Q);
  return qg_layer_forward(pass, output);
}

static qg_status forward(qg_stage *base, const qg_weight_reader *weights, int slot, const int32_t *ids,
                         bool keep, qg_view *out)
{
  qg_llama_stage *stage = qg_llama_of(base);
  int layers = stage->part.num_layers;
  QG_TRY(qg_llama_check_slot(stage, slot));
  QG_TRY(check_backward(stage, keep));
  if (stage->part.has_embedding) QG_TRY(embed_tokens(stage, weights, ids, qg_llama_hidden(stage, slot, 0)));
  for (int i = 0; i < layers; i++) {
    layer_pass pass = pass_over(stage, weights, slot, i);
    QG_TRY(layer_forward(stage, &pass, slot, i, keep));
  }
  *out = stage->part.has_head ? (qg_view){0} : qg_llama_hidden(stage, slot, layers);
  return QG_OK;
}

static qg_status expect_backward(qg_stage *base, int slot)
{
  qg_llama_stage *stage = qg_llama_of(base);
  QG_TRY(qg_llama_check_slot(stage, slot));
  return qg_offload_fetch(stage, slot, stage->part.num_layers - 1);
}

static qg_status embedding_backward(qg_llama_stage *stage, const qg_gradient_port *gradients,
                                    const int32_t *ids, qg_view d_hidden)
{
  int embedding = qg_llama_param(&stage->shape, QG_ROLE_EMBED, -1);
  QG_TRY(gradients->add_rows(gradients->impl, embedding, ids, d_hidden));
  return gradients->complete(gradients->impl, embedding);
}

static qg_status backward(qg_stage *base, const qg_weight_reader *weights, const qg_gradient_port *gradients,
                          int slot, const int32_t *ids, qg_view d_out, qg_view *d_in)
{
  qg_llama_stage *stage = qg_llama_of(base);
  QG_TRY(qg_llama_check_slot(stage, slot));
  QG_TRY(check_backward(stage, true));
  qg_view d_hidden = stage->d_output[slot];
  if (!stage->part.has_head) QG_TRY(stage->be->ops->convert(stage->be, d_hidden, d_out));
  for (int i = stage->part.num_layers - 1; i >= 0; i--) {
    layer_pass pass = pass_over(stage, weights, slot, i);
    pass.gradients = gradients;
    pass.backward = true;
    QG_TRY(qg_offload_await(stage, slot, i));
    QG_TRY(qg_offload_fetch(stage, slot, i - 1));
    continue_with(&pass, i - 1, stage->options.checkpointing ? QG_ROLE_Q : QG_ROLE_DOWN);
    QG_TRY(qg_layer_backward(&pass, d_hidden));
  }
  *d_in = stage->part.has_embedding ? (qg_view){0} : d_hidden;
  return stage->part.has_embedding ? embedding_backward(stage, gradients, ids, d_hidden) : QG_OK;
}

const qg_model_ops qg_llama_ops = {.param_count = qg_llama_param_count,
                                   .param = qg_llama_describe,
                                   .holds = qg_llama_holds,
                                   .layer_flops = qg_llama_layer_flops,
                                   .head_flops = qg_llama_head_flops,
                                   .workload = workload_of,
                                   .create = create,
                                   .destroy = destroy,
                                   .init = init,
                                   .input = input,
                                   .output_gradient = output_gradient,
                                   .set_skip = set_skip,
                                   .forward = forward,
                                   .loss = qg_llama_loss,
                                   .expect_backward = expect_backward,
                                   .backward = backward};
