/* A pre-norm decoder layer (Touvron et al., arXiv 2302.13971):
 *   mid    = input + O attention(rope(Q n), rope(K n), V n),   n  = norm(input)
 *   output = mid + Down(silu(Gate n') * Up n'),                n' = norm(mid) */
#include "model/llama/layer_ops.h"
#include "model/llama/stage_private.h"

static qg_status forward_role(const layer_pass *pass, qg_role role, qg_view x, qg_view y)
{
  return qg_linear_forward(pass->stage->be, pass->weights, qg_layer_param(pass, role),
                           qg_layer_next(pass, role), x, y);
}

static qg_status project_qkv(const layer_pass *pass)
{
  const layer_buffers *kept = pass->kept;
  qg_view normed = pass->stage->scratch.normed;
  QG_TRY(qg_layer_norm_input(pass));
  QG_TRY(forward_role(pass, QG_ROLE_Q, normed, kept->q));
  QG_TRY(forward_role(pass, QG_ROLE_K, normed, kept->k));
  QG_TRY(forward_role(pass, QG_ROLE_V, normed, kept->v));
  QG_TRY(qg_layer_rotate(pass, kept->q, kept->k, false));
  return QG_OK;
}

static qg_status attend(const layer_pass *pass, qg_view projected)
{
  qg_backend *be = pass->stage->be;
  qg_attention_args attention = qg_layer_attention(pass);
  QG_TRY(be->ops->attention(be, &attention));
  QG_TRY(forward_role(pass, QG_ROLE_O, pass->kept->attention, projected));
  return QG_OK;
}

/* `mid` holds the projection of attention; the norm adds the residual to it in place. */
static qg_status norm_mid_sum(const layer_pass *pass)
{
  const qg_llama_stage *stage = pass->stage;
  const layer_buffers *kept = pass->kept;
  return qg_norm_forward_sum(stage->be, pass->weights, qg_layer_param(pass, QG_ROLE_MLP_NORM),
                             (float)stage->shape.rms_norm_eps, kept->mid, kept->input, kept->mid,
                             kept->mlp_rstd, stage->scratch.normed);
}

static qg_status expand(const layer_pass *pass)
{
  const layer_buffers *kept = pass->kept;
  qg_view normed = pass->stage->scratch.normed;
  QG_TRY(forward_role(pass, QG_ROLE_GATE, normed, kept->gate));
  QG_TRY(forward_role(pass, QG_ROLE_UP, normed, kept->up));
  return QG_OK;
}

/* The residual is added by a pass of its own, not by the next norm, so that a layer's output does not depend
 * on where the pipeline is cut. */
static qg_status contract(const layer_pass *pass, qg_view output)
{
  qg_backend *be = pass->stage->be;
  qg_swiglu_args swiglu = {
      .gate = pass->kept->gate, .up = pass->kept->up, .out = pass->stage->scratch.product};
  QG_TRY(be->ops->swiglu(be, &swiglu));
  QG_TRY(forward_role(pass, QG_ROLE_DOWN, swiglu.out, output));
  QG_TRY(be->ops->axpy(be, 1.0f, pass->kept->mid, output));
  return QG_OK;
}

qg_status qg_layer_refill(const layer_pass *pass)
{
  QG_TRY(project_qkv(pass));
  QG_TRY(attend(pass, pass->kept->mid));
  QG_TRY(norm_mid_sum(pass));
  QG_TRY(expand(pass));
  return QG_OK;
}

qg_status qg_layer_forward(const layer_pass *pass, qg_view output)
{
  QG_TRY(qg_layer_refill(pass));
  QG_TRY(contract(pass, output));
  return QG_OK;
}

/* output = input + attention. */
static qg_status attention_alone(const layer_pass *pass, qg_view output)
{
  qg_backend *be = pass->stage->be;
  layer_pass alone = *pass;
  alone.attention_only = true;
  QG_TRY(project_qkv(&alone));
  QG_TRY(attend(&alone, output));
  return be->ops->axpy(be, 1.0f, pass->kept->input, output);
}

/* output = input + MLP: the stream between the two sub-layers is the one that enters. */
static qg_status mlp_alone(const layer_pass *pass, qg_view output)
{
  layer_pass alone = *pass;
  layer_buffers kept = *pass->kept;
  kept.mid = kept.input;
  alone.kept = &kept;
  QG_TRY(qg_layer_norm_mid(&alone));
  QG_TRY(expand(&alone));
  QG_TRY(contract(&alone, output));
  return QG_OK;
}

qg_status qg_layer_evaluate(const layer_pass *pass, qg_view output)
{
  const qg_llama_stage *stage = pass->stage;
  bool attention = !stage->skip(stage->skip_context, pass->layer, QG_SUBLAYER_ATTENTION);
  bool mlp = !stage->skip(stage->skip_context, pass->layer, QG_SUBLAYER_MLP);
  if (attention && mlp) return qg_layer_forward(pass, output);
  if (attention) return attention_alone(pass, output);
  if (mlp) return mlp_alone(pass, output);
  return stage->be->ops->convert(stage->be, output, pass->kept->input);
}

/* All that differs from pass to pass is in device memory: a layer's forward depends on nothing else, and its
 * buffers never move. */
qg_status qg_layer_forward_by_graph(const layer_pass *pass, layer_graph *graph, qg_view output)
{
  qg_backend *be = pass->stage->be;
  if (!graph->called) {
    graph->called = true;
    return qg_layer_forward(pass, output);
  }
  if (!graph->graph) {
    QG_TRY(be->ops->async->begin_graph(be));
    QG_TRY(qg_layer_forward(pass, output));
    QG_TRY(be->ops->async->end_graph(be, &graph->graph));
  }
  return be->ops->async->launch_graph(be, graph->graph);
}
