/* Moments follow the subspace: what Adam remembers in the old basis is read in the new one.
 *
 * With C the change of basis, means turn as gradients do, and variances as those of independent coordinates
 * (LDAdam, arXiv 2410.16103; doc/method.md section 9):
 *   right: mean' = mean C     variance' = variance (C o C)
 *   left:  mean' = C^T mean   variance' = (C o C)^T variance
 * where mean and variance are the bias-corrected m and v - m^2. What the new basis does not hold is
 * forgotten. */
#include <math.h>

#include "optim/internal.h"

static qg_moments_args moments_of(const qg_optim *optim, const qg_optim_param *p, int64_t first)
{
  const qg_optim_options *options = &optim->options;
  const qg_optim_moments moments = qg_optim_moments_from(options, p, first);
  double steps = (double)optim->step; /* updates so far */
  return (qg_moments_args){
      .c1 = (float)(1.0 - pow(options->beta1, steps)),
      .c2_squared = (float)(1.0 - pow(options->beta2, steps)),
      .m = moments.m,
      .v = moments.v,
      .m_codes = moments.m_codes,
      .v_codes = moments.v_codes,
      .m_absmax = moments.m_absmax,
      .v_absmax = moments.v_absmax,
      .block = options->moment_block,
  };
}

bool qg_optim_rotates(const qg_optim *optim, const qg_optim_param *p)
{
  return optim->options.rotate_moments && optim->step > 0 && qg_optim_has_projector(p);
}

/* C and the squares of its elements, where the device reads them. */
qg_status qg_optim_place_rotation(qg_optim *optim, int64_t rank)
{
  float *host = optim->refresher.rotation;
  int64_t count = rank * rank;
  for (int64_t i = 0; i < count; i++) host[count + i] = host[i] * host[i];
  if (host == optim->scratch.rotation) return QG_OK;
  QG_TRY(
      optim->be->ops->copy_in(optim->be, optim->scratch.rotation, host, qg_dtype_bytes(QG_F32, 2 * count)));
  return optim->be->ops->sync(optim->be);
}

/* Rows [first, first + rows) of a statistic in the new basis. */
static qg_status mix(qg_optim *optim, const qg_optim_param *p, const float *statistic, const float *factor,
                     int64_t first, int64_t rows, float *out)
{
  int64_t rank = p->policy.rank, cols = p->policy.grad_cols;
  bool right = p->policy.side == QG_SIDE_RIGHT;
  qg_view old = qg_view_make((void *)statistic, QG_F32, p->policy.grad_rows, cols);
  qg_view turn = qg_view_make((void *)factor, QG_F32, rank, rank);
  qg_gemm_args gemm = {
      .a = right ? qg_view_rows(old, first, rows) : qg_view_cols(turn, first, rows),
      .b = right ? turn : old,
      .c = qg_view_make(out, QG_F32, rows, cols),
      .trans_a = !right,
      .alpha = 1.0f,
  };
  return optim->be->ops->gemm(optim->be, &gemm);
}

static qg_status rotate_rows(qg_optim *optim, const qg_optim_param *p, int64_t first, int64_t rows)
{
  const qg_optim_scratch *scratch = &optim->scratch;
  int64_t elements = qg_optim_grad_elements(p), square = p->policy.rank * p->policy.rank;
  qg_moments_args args = moments_of(optim, p, first * p->policy.grad_cols);
  args.count = rows * p->policy.grad_cols;
  args.mean = scratch->mixed;
  args.variance = scratch->mixed + scratch->mixed_elements;
  const float *means = scratch->statistics, *variances = means + elements;
  QG_TRY(mix(optim, p, means, scratch->rotation, first, rows, args.mean));
  QG_TRY(mix(optim, p, variances, scratch->rotation + square, first, rows, args.variance));
  return optim->be->ops->write_moments(optim->be, &args);
}

qg_status qg_optim_rotate_moments(qg_optim *optim, const qg_optim_param *p)
{
  int64_t rows = p->policy.grad_rows, block = p->policy.moments8 ? optim->options.moment_block : 1;
  int64_t step = qg_optim_chunk_rows(optim, rows, p->policy.grad_cols, block);
  qg_moments_args all = moments_of(optim, p, 0);
  all.count = qg_optim_grad_elements(p);
  all.mean = optim->scratch.statistics;
  all.variance = all.mean + all.count;
  QG_TRY(optim->be->ops->read_moments(optim->be, &all));
  for (int64_t first = 0; first < rows; first += step)
    QG_TRY(rotate_rows(optim, p, first, qg_min_i64(step, rows - first)));
  return QG_OK;
}
