/* Final norm, output head and cross-entropy of the last stage.
 *
 * Logits are made and consumed in blocks of rows, so those of a whole micro-batch are never alive; a block's
 * gradient follows its loss at once, so nothing is computed twice. */
#include "model/llama/linear.h"
#include "model/llama/llama.h"
#include "model/llama/stage_private.h"
#include "qgalore/base.h"

typedef struct {
  qg_llama_stage *stage;
  const qg_gradient_port *gradients; /* NULL: the loss alone */
  const int32_t *targets;
  float grad_scale;
  double *loss;
  int head;       /* parameter */
  qg_view weight; /* of the head: no other matrix is read meanwhile, so it stays valid */
} head_pass;

static qg_status block_loss(const head_pass *pass, int64_t first, int64_t count)
{
  qg_llama_stage *stage = pass->stage;
  const stage_scratch *scratch = &stage->scratch;
  qg_cross_entropy_args entropy = {.logits = qg_view_rows(scratch->logits, 0, count),
                                   .targets = pass->targets + first,
                                   .loss = pass->loss,
                                   .grad_scale = pass->grad_scale};
  if (pass->gradients) entropy.d_logits = qg_view_rows(scratch->d_logits, 0, count);
  QG_TRY(qg_matmul_transposed(stage->be, qg_view_rows(scratch->normed, first, count), pass->weight,
                              entropy.logits));
  QG_TRY(stage->be->ops->cross_entropy(stage->be, &entropy));
  return QG_OK;
}

static qg_status block_backward(const head_pass *pass, int64_t first, int64_t count)
{
  qg_llama_stage *stage = pass->stage;
  qg_view d_logits = qg_view_rows(stage->scratch.d_logits, 0, count);
  qg_view d_normed = qg_view_rows(stage->scratch.d_normed, first, count);
  qg_view normed = qg_view_rows(stage->scratch.normed, first, count);
  QG_TRY(qg_matmul(stage->be, d_logits, pass->weight, 0.0f, d_normed));
  QG_TRY(pass->gradients->add_matrix(pass->gradients->impl, pass->head, d_logits, normed));
  return QG_OK;
}

static qg_status run_blocks(const head_pass *pass)
{
  int64_t tokens = pass->stage->tokens, rows = pass->stage->options.logit_chunk_tokens;
  for (int64_t first = 0; first < tokens; first += rows) {
    int64_t count = qg_min_i64(rows, tokens - first);
    QG_TRY(block_loss(pass, first, count));
    if (pass->gradients) QG_TRY(block_backward(pass, first, count));
  }
  return pass->gradients ? pass->gradients->complete(pass->gradients->impl, pass->head) : QG_OK;
}

qg_status qg_llama_loss(qg_stage *base, const qg_weight_reader *weights, const qg_gradient_port *gradients,
                        int slot, const int32_t *targets, float grad_scale, double *loss)
{
  qg_llama_stage *stage = qg_llama_of(base);
  QG_TRY(qg_llama_check_slot(stage, slot));
  QG_CHECK(stage->part.has_head, QG_ERR_RUNTIME, "the loss was asked of a stage without the output head");
  QG_CHECK(!gradients || !stage->options.forward_only, QG_ERR_RUNTIME,
           "gradients on a stage that only evaluates");
  const stage_scratch *scratch = &stage->scratch;
  qg_view hidden = qg_llama_hidden(stage, slot, stage->part.num_layers);
  int norm = qg_llama_param(&stage->shape, QG_ROLE_FINAL_NORM, -1);
  head_pass pass = {.stage = stage,
                    .gradients = grad_scale != 0 ? gradients : NULL,
                    .targets = targets,
                    .grad_scale = grad_scale,
                    .loss = loss,
                    .head = qg_llama_param(&stage->shape, QG_ROLE_HEAD, -1)};
  QG_TRY(qg_norm_forward(stage->be, weights, norm, (float)stage->shape.rms_norm_eps, hidden,
                         scratch->final_rstd, scratch->normed));
  QG_TRY(weights->read(weights->impl, pass.head, &pass.weight));
  QG_TRY(run_blocks(&pass));
  if (!pass.gradients) return QG_OK;
  return qg_norm_backward(stage->be, weights, gradients, norm, hidden, scratch->final_rstd, scratch->d_normed,
                          stage->d_output[slot], false);
}
