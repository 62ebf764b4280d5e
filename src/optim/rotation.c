/* Moments follow the subspace: what Adam remembers in the old basis is read in the new one.
 *
 * With C the change of basis, means turn as gradients do, and variances as those of independent coordinates
 * (LDAdam, arXiv 2410.16103; doc/method.md section 9):
 *   right: mean' = mean C     variance' = variance (C o C)
 *   left:  mean' = C^T mean   variance' = (C o C)^T variance
 * where mean and variance are the bias-corrected m and v - m^2. What the new basis does not hold is
 * forgotten. */
#include "optim/rotation.h"

#include <math.h>

#include "optim/chunks.h"
#include "qgalore/base.h"

static qg_moments_args moments_of(const qg_projected *p, int64_t first)
{
  const qg_optim_options *options = &p->sink.o->options;
  const qg_moments moments = qg_moments_from(&p->moments, first);
  double steps = (double)p->sink.o->step; /* updates so far */
  return (qg_moments_args){
      .c1 = (float)(1.0 - pow(options->beta1, steps)),
      .c2_squared = (float)(1.0 - pow(options->beta2, steps)),
      .m = moments.m,
      .v = moments.v,
      .m_codes = moments.m_codes,
      .v_codes = moments.v_codes,
      .m_absmax = moments.m_absmax,
      .v_absmax = moments.v_absmax,
      .block = moments.block,
  };
}

bool qg_rotates(const qg_projected *p)
{
  return p->sink.o->options.rotate_moments && p->sink.o->step > 0 && qg_projected_has_basis(p);
}

/* C and the squares of its elements, where the device reads them. */
qg_status qg_rotation_place(qg_optim_context *o, float *host, int64_t rank)
{
  int64_t count = rank * rank;
  for (int64_t i = 0; i < count; i++) host[count + i] = host[i] * host[i];
  if (host == o->scratch.rotation) return QG_OK;
  QG_TRY(o->be->ops->copy_in(o->be, o->scratch.rotation, host, qg_dtype_bytes(QG_F32, 2 * count)));
  return o->be->ops->sync(o->be);
}

/* Rows [first, first + rows) of a statistic in the new basis. */
static qg_status mix(const qg_projected *p, const float *statistic, const float *factor, int64_t first,
                     int64_t rows, float *out)
{
  int64_t rank = p->projector.rank, cols = p->cols;
  bool right = p->projector.side == QG_SIDE_RIGHT;
  qg_view old = qg_view_make((void *)statistic, QG_F32, p->rows, cols);
  qg_view turn = qg_view_make((void *)factor, QG_F32, rank, rank);
  qg_gemm_args gemm = {
      .a = right ? qg_view_rows(old, first, rows) : qg_view_cols(turn, first, rows),
      .b = right ? turn : old,
      .c = qg_view_make(out, QG_F32, rows, cols),
      .trans_a = !right,
      .alpha = 1.0f,
  };
  return p->sink.o->be->ops->gemm(p->sink.o->be, &gemm);
}

static qg_status rotate_rows(const qg_projected *p, int64_t first, int64_t rows)
{
  const qg_optim_context *o = p->sink.o;
  const qg_optim_scratch *scratch = &o->scratch;
  int64_t square = p->projector.rank * p->projector.rank;
  qg_moments_args args = moments_of(p, first * p->cols);
  args.count = rows * p->cols;
  args.mean = scratch->mixed;
  args.variance = scratch->mixed + scratch->mixed_elements;
  const float *means = scratch->statistics, *variances = means + p->rows * p->cols;
  QG_TRY(mix(p, means, scratch->rotation, first, rows, args.mean));
  QG_TRY(mix(p, variances, scratch->rotation + square, first, rows, args.variance));
  return o->be->ops->write_moments(o->be, &args);
}

qg_status qg_rotate_moments(const qg_projected *p)
{
  const qg_optim_context *o = p->sink.o;
  int64_t block = p->moments.eight_bit ? p->moments.block : 1;
  int64_t step = qg_chunk_rows(o, p->rows, p->cols, block);
  qg_moments_args all = moments_of(p, 0);
  all.count = p->rows * p->cols;
  all.mean = o->scratch.statistics;
  all.variance = all.mean + all.count;
  QG_TRY(o->be->ops->read_moments(o->be, &all));
  for (int64_t first = 0; first < p->rows; first += step)
    QG_TRY(rotate_rows(p, first, qg_min_i64(step, p->rows - first)));
  return QG_OK;
}
