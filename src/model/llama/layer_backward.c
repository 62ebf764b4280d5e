/* Backward of layer_forward.c, in the opposite order. D is the gradient of the residual stream: it passes
 * through both residual connections unchanged, and each block adds its own part to it in place. */
#include "model/llama/layer_ops.h"
#include "model/llama/stage_private.h"

/* The gradient of W is dy^T x. */
static qg_status give_gradient(const layer_pass *pass, int param, qg_view dy, qg_view x)
{
  const qg_gradient_port *gradients = pass->gradients;
  QG_TRY(gradients->add_matrix(gradients->impl, param, dy, x));
  return gradients->complete(gradients->impl, param);
}

/* dx (+)= dy W, and the gradient of W. */
static qg_status backward_role(const layer_pass *pass, qg_role role, qg_view dy, qg_view x, qg_view dx,
                               bool accumulate)
{
  int param = qg_layer_param(pass, role), next = qg_layer_next(pass, role);
  QG_TRY(qg_linear_backward(pass->stage->be, pass->weights, param, next, dy, dx, accumulate));
  return give_gradient(pass, param, dy, x);
}

/* The product of SwiGLU is needed for the gradient of Down but not kept: it is recomputed over its own
 * gradient, and the gradients of gate and up replace gate and up. */
static qg_status contract_backward(const layer_pass *pass, qg_view d_hidden)
{
  qg_backend *be = pass->stage->be;
  const layer_buffers *kept = pass->kept;
  qg_view product = pass->stage->scratch.product;
  int down = qg_layer_param(pass, QG_ROLE_DOWN), next = qg_layer_next(pass, QG_ROLE_DOWN);
  QG_TRY(qg_linear_backward(be, pass->weights, down, next, d_hidden, product, false));
  qg_swiglu_args swiglu = {.gate = kept->gate,
                           .up = kept->up,
                           .out = product,
                           .d_out = product,
                           .d_gate = kept->gate,
                           .d_up = kept->up};
  QG_TRY(be->ops->swiglu_backward(be, &swiglu));
  return give_gradient(pass, down, d_hidden, product);
}

static qg_status expand_backward(const layer_pass *pass, qg_view d_hidden)
{
  const qg_llama_stage *stage = pass->stage;
  const stage_scratch *scratch = &stage->scratch;
  const layer_buffers *kept = pass->kept;
  QG_TRY(qg_layer_norm_mid(pass));
  QG_TRY(backward_role(pass, QG_ROLE_GATE, kept->gate, scratch->normed, scratch->d_normed, false));
  QG_TRY(backward_role(pass, QG_ROLE_UP, kept->up, scratch->normed, scratch->d_normed, true));
  QG_TRY(qg_norm_backward(stage->be, pass->weights, pass->gradients, qg_layer_param(pass, QG_ROLE_MLP_NORM),
                          kept->mid, kept->mlp_rstd, scratch->d_normed, d_hidden, true));
  return QG_OK;
}

/* d_normed holds the gradient of the attention output here; it is free again before the projections need it.
 */
static qg_status attend_backward(const layer_pass *pass, qg_view d_hidden)
{
  qg_backend *be = pass->stage->be;
  const stage_scratch *scratch = &pass->stage->scratch;
  QG_TRY(backward_role(pass, QG_ROLE_O, d_hidden, pass->kept->attention, scratch->d_normed, false));
  qg_attention_args attention = qg_layer_attention(pass);
  attention.d_o = scratch->d_normed;
  attention.d_q = pass->kept->d_q;
  attention.d_k = pass->kept->d_k;
  attention.d_v = pass->kept->d_v;
  QG_TRY(be->ops->attention_backward(be, &attention));
  QG_TRY(qg_layer_rotate(pass, pass->kept->d_q, pass->kept->d_k, true));
  return QG_OK;
}

static qg_status project_qkv_backward(const layer_pass *pass, qg_view d_hidden)
{
  const qg_llama_stage *stage = pass->stage;
  const stage_scratch *scratch = &stage->scratch;
  QG_TRY(qg_layer_norm_input(pass));
  QG_TRY(backward_role(pass, QG_ROLE_Q, pass->kept->d_q, scratch->normed, scratch->d_normed, false));
  QG_TRY(backward_role(pass, QG_ROLE_K, pass->kept->d_k, scratch->normed, scratch->d_normed, true));
  QG_TRY(backward_role(pass, QG_ROLE_V, pass->kept->d_v, scratch->normed, scratch->d_normed, true));
  QG_TRY(qg_norm_backward(stage->be, pass->weights, pass->gradients, qg_layer_param(pass, QG_ROLE_ATTN_NORM),
                          pass->kept->input, pass->kept->attn_rstd, scratch->d_normed, d_hidden, true));
  return QG_OK;
}

qg_status qg_layer_backward(const layer_pass *pass, qg_view d_hidden)
{
  layer_pass refill = *pass;
  refill.backward = false;
  if (pass->stage->options.checkpointing) QG_TRY(qg_layer_refill(&refill));
  QG_TRY(contract_backward(pass, d_hidden));
  QG_TRY(expand_backward(pass, d_hidden));
  QG_TRY(attend_backward(pass, d_hidden));
  QG_TRY(project_qkv_backward(pass, d_hidden));
  return QG_OK;
}
