/* Where the gradients of backward go. */
#include "optim/internal.h"

static qg_status check_shapes(const qg_optim *optim, const qg_optim_param *p, qg_view dy, qg_view x)
{
  bool fits =
      dy.cols == p->info.rows && x.cols == p->info.cols && dy.rows == x.rows && x.rows <= optim->tokens;
  QG_CHECK(fits, QG_ERR_RUNTIME, "a gradient [%lld, %lld] x [%lld, %lld] for %s, made for up to %lld tokens",
           (long long)dy.rows, (long long)dy.cols, (long long)x.rows, (long long)x.cols, p->info.name,
           (long long)optim->tokens);
  return QG_OK;
}

/* c = a^T b + beta c */
static qg_status multiply_transposed(qg_backend *be, qg_view a, qg_view b, float beta, qg_view c)
{
  qg_gemm_args gemm = {.a = a, .b = b, .c = c, .trans_a = true, .alpha = 1.0f, .beta = beta};
  return be->ops->gemm(be, &gemm);
}

/* The gradient never leaves the low rank, exact because matrix products associate (algorithm.md 8.1):
 *   right: (dY^T X) P^T = dY^T (X P^T)      2 t r (m + n) FLOPs in place of 2 t m n
 *   left:  P^T (dY^T X) = (dY P)^T X */
static qg_status add_low_rank(qg_optim *optim, const qg_optim_param *p, qg_view dy, qg_view x)
{
  qg_backend *be = optim->be;
  bool right = p->policy.side == QG_SIDE_RIGHT;
  qg_view low = qg_view_make(optim->scratch.low_rank, be->compute, x.rows, p->policy.rank), basis;
  QG_TRY(qg_optim_projector_read(optim, p, be->compute, &basis));
  qg_gemm_args shrink = {
      .a = right ? x : dy, .b = basis, .c = low, .trans_b = right, .alpha = 1.0f, .beta = 0.0f};
  QG_TRY(be->ops->gemm(be, &shrink));
  return multiply_transposed(be, right ? dy : low, right ? low : x, 1.0f, qg_optim_grad_view(p));
}

/* Forms G. Where each matrix has its own, finish projects it; where all share one, that happens here. */
static qg_status add_full(qg_optim *optim, qg_optim_param *p, qg_view dy, qg_view x)
{
  qg_view full = qg_view_make(p->full, QG_F32, p->info.rows, p->info.cols);
  if (p->accumulates_full) return multiply_transposed(optim->be, dy, x, 1.0f, full);
  QG_TRY(multiply_transposed(optim->be, dy, x, 0.0f, full));
  if (p->refresh_pending) {
    optim->refresher.pending[0] = p;
    QG_TRY(qg_optim_refresh(optim, 1));
  }
  return qg_optim_project(optim, p, 1.0f);
}

static qg_status matrix_grad(void *impl, int id, qg_view dy, qg_view x)
{
  qg_optim *optim = impl;
  qg_optim_param *p;
  QG_TRY(qg_optim_find(optim, id, &p));
  QG_TRY(check_shapes(optim, p, dy, x));
  if (qg_optim_needs_full(optim, p)) return add_full(optim, p, dy, x);
  if (p->policy.projected) return add_low_rank(optim, p, dy, x);
  qg_view grad = qg_optim_grad_view(p);
  if (p->head_grad) grad.data = p->head_grad;
  return multiply_transposed(optim->be, dy, x, 1.0f, grad);
}

static qg_status row_grad(void *impl, int id, const int32_t *ids, qg_view dx)
{
  qg_optim *optim = impl;
  qg_optim_param *p;
  QG_TRY(qg_optim_find(optim, id, &p));
  QG_CHECK(!p->policy.projected && dx.cols == p->info.cols, QG_ERR_RUNTIME, "a row gradient for %s",
           p->info.name);
  return optim->be->ops->embed_backward(optim->be, ids, dx, qg_optim_grad_view(p));
}

static qg_status vector_grad(void *impl, int id, float **out)
{
  qg_optim_param *p;
  QG_TRY(qg_optim_find(impl, id, &p));
  QG_CHECK(qg_optim_is_vector(p), QG_ERR_RUNTIME, "a vector gradient for the matrix %s", p->info.name);
  *out = p->grad;
  return QG_OK;
}

qg_param_port qg_optim_make_port(qg_optim *optim)
{
  qg_param_port port = {
      .impl = optim,
      .read = qg_optim_read,
      .read_rows = qg_optim_read_rows,
      .matrix_grad = matrix_grad,
      .row_grad = row_grad,
      .vector_grad = vector_grad,
  };
  return port;
}
