/* From gradients to weights: Adam, project back, decay, store. */
#include "optim/internal.h"

/* Of a step that is over the host knows whether to update at all. */
static const qg_finite_guard *guard_of(const qg_optim *optim, const qg_optim_param *p)
{
  return p->policy.fused ? qg_optim_guard(optim) : NULL;
}

/* Elements [first, first + count) of what Adam sees; first is a multiple of the moment block. */
static qg_adam_args adam_of(const qg_optim *optim, const qg_optim_param *p, const qg_step_rates *rates,
                            int64_t first, int64_t count)
{
  const qg_optim_options *options = &optim->options;
  const qg_optim_moments moments = qg_optim_moments_from(options, p, first);
  return (qg_adam_args){
      .grad = (const char *)p->grad + qg_dtype_bytes(p->policy.grad_type, first),
      .grad_type = p->policy.grad_type,
      .count = count,
      .grad_scale = rates->grad_scale,
      .lr = rates->lr,
      .beta1 = (float)options->beta1,
      .beta2 = (float)options->beta2,
      .eps = (float)options->eps,
      .t = optim->step + 1,
      .bounded = options->bound_moments,
      .m = moments.m,
      .v = moments.v,
      .m_codes = moments.m_codes,
      .v_codes = moments.v_codes,
      .m_absmax = moments.m_absmax,
      .v_absmax = moments.v_absmax,
      .block = options->moment_block,
      .guard = guard_of(optim, p),
  };
}

/* Adds scratch.update to the elements [first, first + count) of the weight. */
static qg_status store_update(qg_optim *optim, const qg_optim_param *p, const qg_step_rates *rates,
                              int64_t first, int64_t count)
{
  qg_backend *be = optim->be;
  const qg_optim_options *options = &optim->options;
  qg_rng rng = {options->seed, (uint64_t)optim->step, (uint32_t)p->info.id, QG_RNG_ROUND};
  float decay = p->policy.decays ? (float)rates->decay : 0.0f;
  if (p->policy.int8) {
    qg_update_int8_args args = {
        .store = p->codes,
        .first = first,
        .count = count,
        .update = optim->scratch.update,
        .decay = decay,
        .rule = {options->include_zero, options->stochastic, options->bf16_arithmetic},
        .rng = rng,
        .guard = guard_of(optim, p),
    };
    return be->ops->update_int8(be, &args);
  }
  qg_update_dense_args args = {
      .weights = (char *)p->values + qg_dtype_bytes(p->policy.type, first),
      .type = p->policy.type,
      .first = first,
      .count = count,
      .update = optim->scratch.update,
      .decay = decay,
      .stochastic = options->stochastic,
      .rng = rng,
      .guard = guard_of(optim, p),
  };
  return be->ops->update_dense(be, &args);
}

static qg_status apply_dense(qg_optim *optim, const qg_optim_param *p, const qg_step_rates *rates)
{
  int64_t total = qg_optim_elements(p), step = qg_optim_chunk_elements(optim);
  for (int64_t first = 0; first < total; first += step) {
    int64_t count = qg_min_i64(step, total - first);
    qg_adam_args args = adam_of(optim, p, rates, first, count);
    args.delta = optim->scratch.update;
    args.delta_type = QG_F32;
    QG_TRY(optim->be->ops->adam(optim->be, &args));
    QG_TRY(store_update(optim, p, rates, first, count));
  }
  return QG_OK;
}

/* Rows of scale * back(delta): right delta P, left P delta (algorithm.md section 3). */
static qg_status project_back(qg_optim *optim, const qg_optim_param *p, qg_view basis, qg_view delta,
                              int64_t first, int64_t rows)
{
  bool right = p->policy.side == QG_SIDE_RIGHT;
  qg_gemm_args gemm = {
      .a = qg_view_rows(right ? delta : basis, first, rows),
      .b = right ? basis : delta,
      .c = qg_view_make(optim->scratch.update, QG_F32, rows, p->info.cols),
      .alpha = (float)optim->options.scale,
  };
  return optim->be->ops->gemm(optim->be, &gemm);
}

static qg_status apply_projected(qg_optim *optim, const qg_optim_param *p, const qg_step_rates *rates)
{
  qg_backend *be = optim->be;
  int64_t rows = p->info.rows, cols = p->info.cols, step = qg_optim_chunk_rows(optim, rows, cols, QG_GROUP);
  qg_view delta = qg_view_make(optim->scratch.delta, be->compute, p->policy.grad_rows, p->policy.grad_cols),
          basis;
  qg_adam_args args = adam_of(optim, p, rates, 0, qg_optim_grad_elements(p));
  args.delta = delta.data;
  args.delta_type = delta.type;
  QG_TRY(be->ops->adam(be, &args));
  QG_TRY(qg_optim_projector_read(optim, p, be->compute, &basis));
  for (int64_t first = 0; first < rows; first += step) {
    int64_t count = qg_min_i64(step, rows - first);
    QG_TRY(project_back(optim, p, basis, delta, first, count));
    QG_TRY(store_update(optim, p, rates, first * cols, count * cols));
  }
  return QG_OK;
}

/* Without a subspace there is nothing to update by, and requantising would only add noise. */
qg_status qg_optim_apply_param(qg_optim *optim, const qg_optim_param *p, const qg_step_rates *rates)
{
  qg_optim_name(optim, p);
  if (p->policy.projected && !qg_optim_has_projector(p)) return QG_OK;
  if (p->policy.fused) qg_optim_guard_updated(optim);
  else
    optim->touched = true;
  QG_TRY(qg_optim_forget_prefetched(optim, p));
  return p->policy.projected ? apply_projected(optim, p, rates) : apply_dense(optim, p, rates);
}

static qg_step_rates make_rates(const qg_optim *optim, double lr, double grad_scale)
{
  return (qg_step_rates){(float)lr, (float)grad_scale, lr * optim->options.weight_decay};
}

void qg_optim_set_rates(qg_optim *optim, double lr, double grad_scale)
{
  optim->rates = make_rates(optim, lr, grad_scale);
}

qg_status qg_optim_apply(qg_optim *optim, double lr, double grad_scale)
{
  qg_step_rates rates = make_rates(optim, lr, grad_scale);
  QG_TRY(qg_optim_add_tied(optim));
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (p->held && !p->policy.fused) QG_TRY(qg_optim_apply_param(optim, p, &rates));
  }
  return qg_optim_convert_vectors(optim);
}
