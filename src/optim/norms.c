/* What clipping sees: the sum of squares of each gradient as Adam will see it. */
#include <math.h>

#include "optim/internal.h"

qg_status qg_optim_tied_gradients(qg_optim *optim, qg_view *embedding_part, qg_view *head_part)
{
  const qg_optim_param *p = &optim->params[qg_param_id(&optim->shape, QG_ROLE_EMBED, -1)];
  bool holds = optim->shape.tie_embeddings && p->held;
  qg_view none = {0};
  *embedding_part = holds ? qg_view_make(p->grad, QG_F32, p->info.rows, p->info.cols) : none;
  *head_part = holds ? qg_view_make(p->head_grad, QG_F32, p->info.rows, p->info.cols) : none;
  return QG_OK;
}

qg_status qg_optim_add_tied(qg_optim *optim)
{
  qg_view embedding_part, head_part;
  QG_TRY(qg_optim_tied_gradients(optim, &embedding_part, &head_part));
  if (optim->tied_added || embedding_part.rows == 0) return QG_OK;
  optim->tied_added = true;
  return optim->be->ops->axpy(optim->be, 1.0f, head_part, embedding_part);
}

static qg_view gathered_view(const qg_optim_param *p)
{
  return p->accumulates_full ? qg_view_make(p->full, QG_F32, p->info.rows, p->info.cols)
                             : qg_optim_grad_view(p);
}

/* Fused matrices have been looked at, one by one. */
qg_status qg_optim_look_at_gradients(qg_optim *optim)
{
  qg_backend *be = optim->be;
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (!p->held || p->policy.fused) continue;
    qg_optim_name(optim, p);
    QG_TRY(be->ops->sum_squares(be, gathered_view(p), optim->scratch.sums + id, NULL));
  }
  QG_TRY(qg_optim_read_sums(optim));
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (p->held && !p->policy.fused && !isfinite(optim->host_sums[id])) optim->discarded = true;
  }
  return QG_OK;
}

/* The last stage holds a tied embedding too, but counting is the first stage's. */
static bool counts(const qg_optim *optim, const qg_optim_param *p)
{
  return p->held && (optim->part.has_embedding || !qg_optim_is_tied(optim, p));
}

/* Fused matrices were measured when their gradient was there. */
qg_status qg_optim_norms(qg_optim *optim, double *sum_squares)
{
  qg_backend *be = optim->be;
  QG_TRY(qg_optim_add_tied(optim));
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (!counts(optim, p) || p->policy.fused) continue;
    qg_optim_name(optim, p);
    QG_TRY(be->ops->sum_squares(be, qg_optim_grad_view(p), optim->scratch.sums + id, NULL));
  }
  QG_TRY(qg_optim_read_sums(optim));
  for (int id = 0; id < optim->param_count; id++)
    if (counts(optim, &optim->params[id])) sum_squares[id] = optim->discarded ? NAN : optim->host_sums[id];
  return QG_OK;
}
