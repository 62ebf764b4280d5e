/* Where the gradients of backward go. */
#include "optim/internal.h"
#include "qgalore/base.h"
#include "qgalore/base/fault.h"

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

/* low [tokens, rank] = operand P^T (right) or operand P (left), in the compute type. */
static qg_status shrink(qg_optim *optim, const qg_optim_param *p, qg_view operand, qg_view *low)
{
  qg_backend *be = optim->be;
  qg_view basis;
  QG_TRY(qg_optim_projector_read(optim, p, be->compute, &basis));
  *low = qg_view_make(optim->scratch.low_rank, be->compute, operand.rows, p->policy.rank);
  qg_gemm_args gemm = {
      .a = operand, .b = basis, .c = *low, .trans_b = p->policy.side == QG_SIDE_RIGHT, .alpha = 1.0f};
  return be->ops->gemm(be, &gemm);
}

/* 0 for the first product of a step, which overwrites what is there, 1 for others. */
static float keep(qg_optim_param *p)
{
  bool first = p->fresh;
  p->fresh = false;
  return first ? 0.0f : 1.0f;
}

/* The gradient never leaves the low rank, exact because matrix products associate (algorithm.md 8.1):
 *   right: (dY^T X) P^T = dY^T (X P^T)      2 t r (m + n) FLOPs in place of 2 t m n
 *   left:  P^T (dY^T X) = (dY P)^T X */
static qg_status add_low_rank(qg_optim *optim, qg_optim_param *p, qg_view dy, qg_view x)
{
  bool right = p->policy.side == QG_SIDE_RIGHT;
  qg_view low;
  QG_TRY(shrink(optim, p, right ? x : dy, &low));
  return multiply_transposed(optim->be, right ? dy : low, right ? low : x, keep(p), qg_optim_grad_view(p));
}

/* The host waits for what it solves anyway, so it may as well ask first whether this step still counts. */
static qg_status refresh_now(qg_optim *optim, qg_optim_param *p, const qg_gradient_pair *pair)
{
  QG_TRY(qg_optim_read_sums(optim));
  if (optim->discarded) return QG_OK;
  qg_optim_start(optim, QG_PHASE_REFRESH);
  optim->refresher.pending[0] = p;
  QG_TRY(qg_optim_refresh(optim, 1, pair));
  qg_optim_stop(optim, QG_PHASE_REFRESH);
  return QG_OK;
}

/* Forms G. Where it gathers, finish projects it; where all matrices share one, that happens here. */
static qg_status add_full(qg_optim *optim, qg_optim_param *p, qg_view dy, qg_view x)
{
  qg_view full = qg_view_make(p->full, QG_F32, p->info.rows, p->info.cols);
  if (p->accumulates_full) return multiply_transposed(optim->be, dy, x, 1.0f, full);
  QG_TRY(qg_optim_drop_prefetched(optim));
  QG_TRY(multiply_transposed(optim->be, dy, x, 0.0f, full));
  if (p->refresh_pending) QG_TRY(refresh_now(optim, p, NULL));
  return qg_optim_project(optim, p, keep(p));
}

static qg_status add_projected(qg_optim *optim, qg_optim_param *p, qg_view dy, qg_view x)
{
  if (p->refresh_pending && p->policy.route == QG_ROUTE_PAIR && !optim->options.full_gradient) {
    qg_gradient_pair pair = optim->pair;
    pair.dy = dy;
    pair.x = x;
    QG_TRY(refresh_now(optim, p, &pair));
  }
  return qg_optim_needs_full(optim, p) ? add_full(optim, p, dy, x) : add_low_rank(optim, p, dy, x);
}

/* A gradient that is not finite ends the updates of this step: neither it nor what backward still brings
 * reaches any state, and norms are NaN. */
static qg_status update_now(qg_optim *optim, const qg_optim_param *p)
{
  qg_optim_start(optim, QG_PHASE_UPDATE);
  QG_TRY(qg_optim_guard_note(optim, qg_optim_grad_view(p), optim->scratch.sums + p->info.id));
  QG_TRY(qg_optim_apply_param(optim, p, &optim->rates));
  qg_optim_stop(optim, QG_PHASE_UPDATE);
  return QG_OK;
}

/* The head's comes in blocks, and matrix_done says when it is whole. */
static qg_status add_dense(qg_optim *optim, qg_optim_param *p, qg_view dy, qg_view x)
{
  qg_view head_part = qg_view_make(p->head_grad, QG_F32, p->info.rows, p->info.cols);
  if (p->head_grad) return multiply_transposed(optim->be, dy, x, 1.0f, head_part);
  if (p->policy.fused) QG_TRY(qg_optim_drop_prefetched(optim));
  QG_TRY(multiply_transposed(optim->be, dy, x, keep(p), qg_optim_grad_view(p)));
  return p->policy.fused && p->info.role != QG_ROLE_HEAD ? update_now(optim, p) : QG_OK;
}

/* For tests: an overflow that begins at this matrix. All ones are a NaN in fp32 and in bf16. */
static qg_status plant_fault(const qg_optim *optim, const qg_optim_param *p, qg_view dy)
{
  const uint32_t ones = UINT32_MAX;
  if (!qg_fault_is_planted_at(p->info.name, optim->step)) return QG_OK;
  return optim->be->ops->copy_in(optim->be, dy.data, &ones, qg_dtype_bytes(dy.type, 1));
}

static qg_status matrix_grad(void *impl, int id, qg_view dy, qg_view x)
{
  qg_optim *optim = impl;
  qg_optim_param *p;
  QG_TRY(qg_optim_find(optim, id, &p));
  QG_TRY(check_shapes(optim, p, dy, x));
  QG_TRY(plant_fault(optim, p, dy));
  if (optim->discarded) return QG_OK;
  if (p->policy.projected) {
    QG_TRY(add_projected(optim, p, dy, x));
    return p->policy.fused ? update_now(optim, p) : QG_OK;
  }
  return add_dense(optim, p, dy, x);
}

static qg_status matrix_done(void *impl, int id)
{
  qg_optim *optim = impl;
  qg_optim_param *p;
  QG_TRY(qg_optim_find(optim, id, &p));
  return p->policy.fused && !optim->discarded ? update_now(optim, p) : QG_OK;
}

/* A fused embedding has one micro-batch, so these are all its rows. */
static qg_status update_rows(qg_optim *optim, qg_optim_param *p, const int32_t *ids, qg_view dx)
{
  QG_TRY(qg_optim_drop_prefetched(optim));
  QG_TRY(qg_optim_clear_grad(optim, p));
  QG_TRY(optim->be->ops->embed_backward(optim->be, ids, dx, qg_optim_grad_view(p)));
  return update_now(optim, p);
}

/* Rows of the embedding's gradient; of its projection (dX P^T) where that is what accumulates. */
static qg_status row_grad(void *impl, int id, const int32_t *ids, qg_view dx)
{
  qg_optim *optim = impl;
  qg_optim_param *p;
  QG_TRY(qg_optim_find(optim, id, &p));
  QG_CHECK(p->info.role == QG_ROLE_EMBED && dx.cols == p->info.cols, QG_ERR_RUNTIME, "a row gradient for %s",
           p->info.name);
  if (optim->discarded) return QG_OK;
  if (p->policy.fused) return update_rows(optim, p, ids, dx);
  qg_view grad = qg_optim_grad_view(p), rows = dx;
  if (p->accumulates_full) grad = qg_view_make(p->full, QG_F32, p->info.rows, p->info.cols);
  else if (p->policy.projected)
    QG_TRY(shrink(optim, p, dx, &rows));
  return optim->be->ops->embed_backward(optim->be, ids, rows, grad);
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
      .prefetch = qg_optim_prefetch,
      .read_rows = qg_optim_read_rows,
      .matrix_grad = matrix_grad,
      .matrix_done = matrix_done,
      .row_grad = row_grad,
      .vector_grad = vector_grad,
  };
  return port;
}
