#include "linalg/subspace_iteration.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "qgalore/backend/host.h"
#include "qgalore/base.h"
#include "qgalore/numerics/philox.h"

enum { OVERSAMPLING = 16 }; /* random vectors beyond the rank */

int64_t qg_subspace_directions(int64_t rank, int64_t d)
{
  return qg_min_i64(rank + OVERSAMPLING, d);
}

void qg_subspace_iteration_lay_out(qg_scratch *scratch, int d, int length, int rank,
                                   qg_product_options options, qg_subspace_iteration *out)
{
  int count = (int)qg_subspace_directions(rank, d);
  *out = (qg_subspace_iteration){.count = count, .active = count};
  out->rows = qg_scratch_take(scratch, (int64_t)count * d, sizeof(float));
  out->spare = qg_scratch_take(scratch, (int64_t)count * d, sizeof(float));
  out->values = qg_scratch_take(scratch, count, sizeof(double));
  out->ritz = qg_scratch_take(scratch, (int64_t)count * count, sizeof(float));
  qg_gram_product_lay_out(scratch, d, length, count, options, &out->product);
  qg_orthonormal_lay_out(scratch, count, &out->householder);
  qg_cholesky_lay_out(scratch, count, &out->cholesky);
  qg_eigen_f32_lay_out(scratch, count, &out->eigen);
}

/* x[i] = magnitude or -magnitude with equal probability, a pure function of (seed, i). For a block power
 * iteration random signs are as good a start as Gaussian numbers and take a bit each (Achlioptas, J. Comput.
 * Syst. Sci. 66, 2003). */
static void fill_signs(uint64_t seed, float magnitude, int64_t count, float *x)
{
  enum { BITS = 128, GROUP = 4, GROUPS = 1 << GROUP };
  float groups[GROUPS][GROUP]; /* of all ways that bits can be */
  for (int k = 0; k < GROUPS * GROUP; k++)
    groups[k / GROUP][k % GROUP] = k / GROUP >> k % GROUP & 1 ? magnitude : -magnitude;
  qg_rng rng = {.seed = seed, .purpose = QG_RNG_SUBSPACE};
  for (int64_t first = 0; first < count; first += BITS) {
    qg_rng_block block = qg_rng_draw(rng, (uint64_t)(first / BITS));
    for (int64_t i = 0; i < qg_min_i64(BITS, count - first); i += GROUP) {
      int64_t length = qg_min_i64(GROUP, count - first - i);
      memcpy(x + first + i, groups[block.v[i / 32] >> i % 32 & (GROUPS - 1)], (size_t)length * sizeof *x);
    }
  }
}

double qg_subspace_iteration_start(qg_subspace_iteration *iteration, const qg_projection_problem *problem,
                                   const float *previous, uint64_t seed)
{
  int64_t d = problem->d, known = previous ? problem->rank : 0;
  iteration->problem = problem;
  qg_gram_product_open(problem, &iteration->product);
  if (previous) qg_projection_problem_load_basis(problem, previous, iteration->rows);
  fill_signs(seed, 1.0f / sqrtf((float)d), (iteration->count - known) * d, iteration->rows + known * d);
  return qg_host_sum_squares(QG_F32, iteration->count * d, iteration->rows) / iteration->count;
}

/* Eigensolvers may not end on a block that is not finite. */
qg_status qg_subspace_iteration_measure(qg_subspace_iteration *iteration, qg_product_grade grade,
                                        double *energy)
{
  QG_TRY(qg_gram_product_begin(&iteration->product, grade, iteration->active, iteration->rows, energy));
  QG_CHECK(isfinite(*energy), QG_ERR_NUMERICAL, "the block power iteration left the finite numbers");
  *energy += iteration->settled_energy;
  return QG_OK;
}

/* vectors [active, d] -= (vectors S^T) S, S the settled rows. */
static void leave_settled(qg_subspace_iteration *iteration, float *vectors)
{
  int d = iteration->problem->d, active = iteration->active, settled = iteration->count - active;
  const float *rest = iteration->rows + (int64_t)active * d;
  float *parts = iteration->ritz;
  if (settled == 0) return;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, active, settled, d, 1, vectors, d, rest, d, 0, parts,
              settled);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, active, d, settled, -1, parts, settled, rest, d, 1,
              vectors, d);
}

/* T_k(t) with t = (H - a) / a, a half of the damped interval, from T_k+1 = 2 t T_k - T_k-1; a factor of each
 * row does not matter:  image <- (H - a) rows - b older,  b = a^2 / 4, in the second step a^2 / 2. */
static void damp(qg_subspace_iteration *iteration)
{
  int elements = iteration->active * iteration->problem->d;
  float a = (float)(iteration->damped / 2), b = iteration->damped_steps == 1 ? a * a / 2 : a * a / 4;
  cblas_saxpy(elements, -a, iteration->rows, 1, iteration->product.image, 1);
  if (iteration->damped_steps > 0)
    cblas_saxpy(elements, -b, iteration->spare, 1, iteration->product.image, 1);
}

/* The image becomes the block; what was it, its companion. */
static void take_image(qg_subspace_iteration *iteration)
{
  size_t bytes = (size_t)iteration->active * (size_t)iteration->problem->d * sizeof *iteration->rows;
  if (iteration->damped > 0) memcpy(iteration->spare, iteration->rows, bytes);
  memcpy(iteration->rows, iteration->product.image, bytes);
}

/* Images whose row stands out of the ones before it by little come from Householder, which makes up a row
 * where one depends on others; beside settled rows it may not, since that might lie among them. */
static qg_status orthonormalise(qg_subspace_iteration *iteration, bool coarse)
{
  int d = iteration->problem->d, active = iteration->active;
  float *companion = iteration->damped > 0 ? iteration->spare : NULL;
  if (qg_orthonormalise_independent(active, d, coarse, iteration->rows, companion, &iteration->cholesky))
    return QG_OK;
  QG_CHECK(iteration->active == iteration->count && !companion, QG_ERR_NUMERICAL,
           "vectors of a block that is partly settled are dependent");
  return qg_orthonormalise(active, d, iteration->rows, &iteration->householder);
}

qg_status qg_subspace_iteration_step(qg_subspace_iteration *iteration, qg_product_grade grade)
{
  QG_TRY(qg_gram_product_finish(&iteration->product, grade, iteration->active));
  if (iteration->damped > 0) damp(iteration);
  leave_settled(iteration, iteration->product.image);
  take_image(iteration);
  QG_TRY(orthonormalise(iteration, grade == QG_PRODUCT_COARSE));
  iteration->damped_steps += iteration->damped > 0;
  return QG_OK;
}

static double largest_values(const qg_subspace_iteration *iteration)
{
  double sum = 0;
  for (int k = iteration->count - iteration->problem->rank; k < iteration->count; k++)
    sum += iteration->values[k];
  return sum;
}

qg_status qg_subspace_iteration_ritz(qg_subspace_iteration *iteration, double *energy)
{
  int d = iteration->problem->d, active = iteration->active;
  /* Again: what rounding left of the settled rows in a step has grown where rows depended on each other. */
  leave_settled(iteration, iteration->rows);
  qg_gram_product_ritz(&iteration->product, active, iteration->ritz);
  QG_TRY(qg_eigen_f32_top(active, active, iteration->ritz, &iteration->eigen));
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, active, d, active, 1, iteration->eigen.vectors,
              active, iteration->rows, d, 0, iteration->spare, d);
  memcpy(iteration->rows, iteration->spare, (size_t)active * (size_t)d * sizeof *iteration->rows);
  for (int k = 0; k < active; k++) iteration->values[k] = (double)iteration->eigen.values[k];
  *energy = largest_values(iteration);
  return QG_OK;
}

void qg_subspace_iteration_settle(qg_subspace_iteration *iteration, int count)
{
  for (int i = 0; i < count; i++) iteration->settled_energy += iteration->values[--iteration->active];
  iteration->damped = fmax(iteration->values[0], 0);
  iteration->damped_steps = 0;
}

qg_status qg_subspace_iteration_publish(qg_subspace_iteration *iteration, qg_subspace_method used,
                                        qg_subspace_job *job)
{
  int first = iteration->count - iteration->problem->rank;
  return qg_projection_problem_publish(iteration->problem,
                                       iteration->rows + (int64_t)first * iteration->problem->d,
                                       iteration->values + first, used, job);
}
