#include "model/llama/linear.h"

qg_status qg_matmul_transposed(qg_backend *be, qg_view a, qg_view b, qg_view c)
{
  qg_gemm_args gemm = {.a = a, .b = b, .c = c, .trans_b = true, .alpha = 1.0f};
  return be->ops->gemm(be, &gemm);
}

qg_status qg_matmul(qg_backend *be, qg_view a, qg_view b, float beta, qg_view c)
{
  qg_gemm_args gemm = {.a = a, .b = b, .c = c, .alpha = 1.0f, .beta = beta};
  return be->ops->gemm(be, &gemm);
}

static qg_status read_weight(const qg_weight_reader *weights, int param, int next, qg_view *weight)
{
  QG_TRY(weights->read(weights->impl, param, weight));
  return next >= 0 && weights->prefetch ? weights->prefetch(weights->impl, next) : QG_OK;
}

qg_status qg_linear_forward(qg_backend *be, const qg_weight_reader *weights, int param, int next, qg_view x,
                            qg_view y)
{
  qg_view weight;
  QG_TRY(read_weight(weights, param, next, &weight));
  QG_TRY(qg_matmul_transposed(be, x, weight, y));
  return QG_OK;
}

qg_status qg_linear_backward(qg_backend *be, const qg_weight_reader *weights, int param, int next, qg_view dy,
                             qg_view dx, bool accumulate)
{
  qg_view weight;
  QG_TRY(read_weight(weights, param, next, &weight));
  QG_TRY(qg_matmul(be, dy, weight, accumulate ? 1.0f : 0.0f, dx));
  return QG_OK;
}

qg_status qg_norm_forward_sum(qg_backend *be, const qg_weight_reader *weights, int param, float eps,
                              qg_view x, qg_view add, qg_view sum, float *rstd, qg_view y)
{
  qg_rmsnorm_args norm = {.x = x, .add = add, .sum = sum, .y = y, .rstd = rstd, .eps = eps};
  QG_TRY(weights->read(weights->impl, param, &norm.weight));
  QG_TRY(be->ops->rmsnorm(be, &norm));
  return QG_OK;
}

qg_status qg_norm_forward(qg_backend *be, const qg_weight_reader *weights, int param, float eps, qg_view x,
                          float *rstd, qg_view y)
{
  return qg_norm_forward_sum(be, weights, param, eps, x, (qg_view){0}, (qg_view){0}, rstd, y);
}

qg_status qg_norm_backward(qg_backend *be, const qg_weight_reader *weights, const qg_gradient_port *gradients,
                           int param, qg_view x, const float *rstd, qg_view dy, qg_view dx, bool accumulate)
{
  qg_rmsnorm_backward_args norm = {.x = x, .dy = dy, .dx = dx, .rstd = rstd, .accumulate = accumulate};
  QG_TRY(weights->read(weights->impl, param, &norm.weight));
  QG_TRY(gradients->vector(gradients->impl, param, &norm.dweight));
  QG_TRY(be->ops->rmsnorm_backward(be, &norm));
  return gradients->complete(gradients->impl, param);
}
