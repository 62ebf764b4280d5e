#include "linalg/power.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "linalg/block_product.h"
#include "linalg/eigen.h"
#include "linalg/orthonormal.h"
#include "linalg/signs.h"
#include "qgalore/base.h"

/* A second step that still gains this share of everything: the spectrum falls too slowly for a complete
 * block. */
static const double HOPELESS_GAIN = 1e-3;

enum {
  OVERSAMPLING = 16, /* random vectors beyond the rank */
  WARM_STEPS = 1,    /* power steps before the first look at the result */
  COLD_STEPS = 2
};

typedef struct {
  int count;           /* c = rank + OVERSAMPLING, at most d */
  float *block;        /* [c, d] orthonormal but for the start */
  float *ritz;         /* [c, c] */
  float *rows;         /* [rank, d] Ritz vectors */
  double *eigenvalues; /* [rank] Ritz values, ascending */
  qg_block_product product;
  qg_orthonormal orthonormal;
  qg_eigen_f32 eigen;
} power_scratch;

int64_t qg_subspace_block(int64_t rank, int64_t d)
{
  return qg_min_i64(rank + OVERSAMPLING, d);
}

static void lay_out(qg_scratch *scratch, int d, int length, int rank, int steps, bool pair,
                    power_scratch *out)
{
  int count = (int)qg_subspace_block(rank, d);
  out->count = count;
  out->block = qg_scratch_take(scratch, (int64_t)count * d, sizeof(float));
  out->ritz = qg_scratch_take(scratch, (int64_t)count * count, sizeof(float));
  out->rows = qg_scratch_take(scratch, (int64_t)rank * d, sizeof(float));
  out->eigenvalues = qg_scratch_take(scratch, rank, sizeof(double));
  qg_block_product_lay_out(scratch, d, length, count, steps, pair, &out->product);
  qg_orthonormal_lay_out(scratch, count, &out->orthonormal);
  qg_eigen_f32_lay_out(scratch, count, &out->eigen);
}

size_t qg_power_bytes(int d, int length, int rank, bool pair)
{
  qg_scratch warm = {0}, cold = {0};
  lay_out(&warm, d, length, rank, WARM_STEPS, pair, &(power_scratch){0});
  lay_out(&cold, d, length, rank, COLD_STEPS, pair, &(power_scratch){0});
  return warm.used > cold.used ? warm.used : cold.used;
}

/* Fills the block; returns its ||V||_F^2 / c, the factor by which tr(V H V^T) exceeds that of unit rows. */
static double start_block(const qg_problem *problem, const float *previous, uint64_t seed, power_scratch *s)
{
  int d = problem->d, known = previous ? problem->rank : 0;
  float *random = s->block + (int64_t)known * d;
  int64_t random_count = (int64_t)(s->count - known) * d;
  double norm2, largest;
  if (previous) qg_problem_load_basis(problem, previous, s->block);
  qg_sign_fill(seed, 1.0f / sqrtf((float)d), random_count, random);
  qg_scan_f32((int64_t)s->count * d, s->block, &norm2, &largest);
  return norm2 / s->count;
}

/* Eigensolvers may not end on a block that is not finite. */
static qg_status begin_product(power_scratch *s, double *energy)
{
  QG_TRY(qg_block_product_begin(&s->product, s->block, energy));
  QG_CHECK(isfinite(*energy), QG_ERR_NUMERICAL, "the block power iteration left the finite numbers");
  return QG_OK;
}

/* block <- orthonormal basis of block H, with its energy. Where steps go on until nothing is left, the rows
 * soon are nearly eigenvectors, whose images stay apart. */
static qg_status power_step(const qg_problem *problem, const qg_power_plan *plan, power_scratch *s,
                            double *energy)
{
  QG_TRY(qg_block_product_finish(&s->product));
  memcpy(s->block, s->product.image, (size_t)s->count * (size_t)problem->d * sizeof *s->block);
  if (!plan->complete || !qg_orthonormalise_apart(s->count, problem->d, s->block, &s->orthonormal))
    QG_TRY(qg_orthonormalise(s->count, problem->d, s->block, &s->orthonormal));
  return begin_product(s, energy);
}

/* The best `rank` directions inside the block, into rows and eigenvalues, and their energy. */
static qg_status rayleigh_ritz(const qg_problem *problem, power_scratch *s, double *captured)
{
  int rank = problem->rank, first = s->count - rank;
  qg_block_product_ritz(&s->product, s->block, s->ritz);
  QG_TRY(qg_eigen_f32_top(s->count, rank, s->ritz, &s->eigen));
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rank, problem->d, s->count, 1,
              s->eigen.vectors + (int64_t)first * s->count, s->count, s->block, problem->d, 0, s->rows,
              problem->d);
  *captured = 0;
  for (int k = 0; k < rank; k++) {
    s->eigenvalues[k] = (double)s->eigen.values[first + k];
    *captured += s->eigenvalues[k];
  }
  return QG_OK;
}

/* Gains shrink from step to step. On gradients where the first step raised .975 of the optimum to .997 and
 * the second to .9988, what was still missing was 0.14 and 0.67 of the last gain; half of it is the estimate.
 */
static double estimate_optimum(const qg_problem *problem, double captured, double gain)
{
  return fmin(problem->norm2, captured + fmax(gain, 0) / 2);
}

/* Nothing worth looking for is left: either next to nothing lies outside the block, which bounds what any
 * other subspace could capture more (the eigenvalues of a positive semidefinite H are dominated by those of
 * its two diagonal blocks; Bourin and Lee, Bull. London Math. Soc. 44, 2012), or the last step, whose gain
 * the next ones' fall short of, found next to nothing. */
static bool is_complete(const qg_problem *problem, double energy, double gain)
{
  const double negligible = 4e-7;
  return problem->norm2 - energy <= negligible * problem->norm2 || gain <= negligible * problem->norm2;
}

/* After a step whose block holds `energy`, `gain` more than before. */
static qg_status judge(const qg_problem *problem, const qg_power_plan *plan, bool last, double energy,
                       double gain, power_scratch *s, bool *accepted)
{
  double captured = 0;
  if (plan->complete && !is_complete(problem, energy, gain)) return QG_OK;
  QG_TRY(rayleigh_ritz(problem, s, &captured));
  *accepted = plan->complete || (plan->last_resort && last) ||
              captured >= plan->min_energy_ratio * estimate_optimum(problem, captured, gain);
  return QG_OK;
}

static qg_subspace_method method_of(const qg_power_plan *plan)
{
  if (plan->complete) return QG_SUBSPACE_EXACT;
  return plan->previous ? QG_SUBSPACE_WARM : QG_SUBSPACE_RANDOMIZED;
}

qg_status qg_power_solve(const qg_problem *problem, const qg_power_plan *plan, qg_scratch scratch,
                         qg_subspace_job *job, bool *accepted)
{
  int steps = plan->previous ? WARM_STEPS : COLD_STEPS, last = steps + plan->more_steps;
  power_scratch s;
  double energy, before;
  *accepted = false;
  lay_out(&scratch, problem->d, problem->length, problem->rank, steps, problem->pair != NULL, &s);
  qg_block_product_open(problem, &s.product);
  double scale = start_block(problem, plan->previous, job->seed, &s);
  QG_TRY(begin_product(&s, &energy));
  energy /= scale;
  for (int step = 1; step <= last && !*accepted; step++) {
    before = energy;
    QG_TRY(power_step(problem, plan, &s, &energy));
    if (plan->complete && step == steps && energy - before > HOPELESS_GAIN * problem->norm2) break;
    if (step >= steps) QG_TRY(judge(problem, plan, step == last, energy, energy - before, &s, accepted));
  }
  if (!*accepted) return QG_OK;
  return qg_problem_publish(problem, s.rows, s.eigenvalues, method_of(plan), job);
}
