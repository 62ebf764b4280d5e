/* From a shape to the model variant that implements it. */
#include "model/ops.h"

#include "model/llama/llama.h"
#include "qgalore/base.h"

const qg_model_ops *qg_model_ops_of(const qg_model_shape *shape)
{
  (void)shape; /* one variant */
  return &qg_llama_ops;
}

int qg_model_param_count(const qg_model_shape *shape)
{
  return qg_model_ops_of(shape)->param_count(shape);
}

qg_param qg_model_param(const qg_model_shape *shape, int index)
{
  return qg_model_ops_of(shape)->param(shape, index);
}

/* A tied embedding is held by the stages that look up and that multiply, and counted by the first. */
static void take_part(const qg_model_ops *ops, const qg_partition *part, qg_param *param)
{
  param->held = ops->holds(part, param);
  param->owned = param->held && (!param->tied || part->has_embedding);
  if (param->tied) param->multiplied = part->has_head;
}

qg_status qg_model_params(const qg_model_shape *shape, const qg_partition *part, qg_param_list *out)
{
  const qg_model_ops *ops = qg_model_ops_of(shape);
  *out = (qg_param_list){.count = ops->param_count(shape)};
  QG_TRY(qg_calloc((size_t)out->count, sizeof *out->params, "the list of parameters", (void **)&out->params));
  for (int i = 0; i < out->count; i++) {
    out->params[i] = ops->param(shape, i);
    take_part(ops, part, &out->params[i]);
  }
  return QG_OK;
}

int64_t qg_model_parameters(const qg_model_shape *shape)
{
  int64_t total = 0;
  for (int i = 0; i < qg_model_param_count(shape); i++) {
    qg_param param = qg_model_param(shape, i);
    total += qg_param_elements(&param);
  }
  return total;
}

double qg_model_flops_per_token(const qg_model_shape *shape, int64_t sequence_length)
{
  const qg_model_ops *ops = qg_model_ops_of(shape);
  double layers = (double)shape->num_layers * ops->layer_flops(shape, sequence_length);
  return layers + ops->head_flops(shape);
}

qg_workload qg_stage_workload(const qg_model_shape *shape, const qg_stage_options *options)
{
  return qg_model_ops_of(shape)->workload(shape, options);
}

qg_status qg_stage_create(qg_mem *mem, qg_backend *be, const qg_model_shape *shape, const qg_partition *part,
                          const qg_stage_options *options, qg_stage **out)
{
  return qg_model_ops_of(shape)->create(mem, be, shape, part, options, out);
}

void qg_stage_destroy(qg_stage *stage)
{
  if (stage) stage->ops->destroy(stage);
}

qg_status qg_stage_init(qg_stage *stage)
{
  return stage->ops->init(stage);
}

qg_view qg_stage_input(const qg_stage *stage, int slot)
{
  return stage->ops->input(stage, slot);
}

qg_view qg_stage_output_gradient(const qg_stage *stage, int slot)
{
  return stage->ops->output_gradient(stage, slot);
}

qg_status qg_stage_forward(qg_stage *stage, const qg_weight_reader *weights, int slot, const int32_t *ids,
                           qg_view *out)
{
  return stage->ops->forward(stage, weights, slot, ids, true, out);
}

qg_status qg_stage_evaluate(qg_stage *stage, const qg_weight_reader *weights, int slot, const int32_t *ids,
                            qg_view *out)
{
  return stage->ops->forward(stage, weights, slot, ids, false, out);
}

void qg_stage_set_skip(qg_stage *stage, qg_skip_sublayer *skip, void *context)
{
  stage->ops->set_skip(stage, skip, context);
}

qg_status qg_stage_loss(qg_stage *stage, const qg_weight_reader *weights, const qg_gradient_port *gradients,
                        int slot, const int32_t *targets, float grad_scale, double *loss)
{
  return stage->ops->loss(stage, weights, gradients, slot, targets, grad_scale, loss);
}

qg_status qg_stage_expect_backward(qg_stage *stage, int slot)
{
  return stage->ops->expect_backward(stage, slot);
}

qg_status qg_stage_backward(qg_stage *stage, const qg_weight_reader *weights,
                            const qg_gradient_port *gradients, int slot, const int32_t *ids, qg_view d_out,
                            qg_view *d_in)
{
  return stage->ops->backward(stage, weights, gradients, slot, ids, d_out, d_in);
}
