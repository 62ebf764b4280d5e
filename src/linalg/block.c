#include "linalg/block.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "linalg/signs.h"
#include "qgalore/backend/host.h"
#include "qgalore/base.h"

enum { OVERSAMPLING = 16 }; /* random vectors beyond the rank */

int64_t qg_subspace_block(int64_t rank, int64_t d)
{
  return qg_min_i64(rank + OVERSAMPLING, d);
}

void qg_block_lay_out(qg_scratch *scratch, int d, int length, int rank, qg_product_plan plan, qg_block *out)
{
  int count = (int)qg_subspace_block(rank, d);
  *out = (qg_block){.count = count, .active = count};
  out->rows = qg_scratch_take(scratch, (int64_t)count * d, sizeof(float));
  out->spare = qg_scratch_take(scratch, (int64_t)count * d, sizeof(float));
  out->values = qg_scratch_take(scratch, count, sizeof(double));
  out->ritz = qg_scratch_take(scratch, (int64_t)count * count, sizeof(float));
  qg_block_product_lay_out(scratch, d, length, count, plan, &out->product);
  qg_orthonormal_lay_out(scratch, count, &out->householder);
  qg_cholesky_lay_out(scratch, count, &out->cholesky);
  qg_eigen_f32_lay_out(scratch, count, &out->eigen);
}

double qg_block_start(qg_block *block, const qg_problem *problem, const float *previous, uint64_t seed)
{
  int64_t d = problem->d, known = previous ? problem->rank : 0;
  block->problem = problem;
  qg_block_product_open(problem, &block->product);
  if (previous) qg_problem_load_basis(problem, previous, block->rows);
  qg_sign_fill(seed, 1.0f / sqrtf((float)d), (block->count - known) * d, block->rows + known * d);
  return qg_host_sum_squares(QG_F32, block->count * d, block->rows) / block->count;
}

/* Eigensolvers may not end on a block that is not finite. */
qg_status qg_block_measure(qg_block *block, qg_product_grade grade, double *energy)
{
  QG_TRY(qg_block_product_begin(&block->product, grade, block->active, block->rows, energy));
  QG_CHECK(isfinite(*energy), QG_ERR_NUMERICAL, "the block power iteration left the finite numbers");
  *energy += block->settled_energy;
  return QG_OK;
}

/* vectors [active, d] -= (vectors S^T) S, S the settled rows. */
static void leave_settled(qg_block *block, float *vectors)
{
  int d = block->problem->d, active = block->active, settled = block->count - active;
  const float *rest = block->rows + (int64_t)active * d;
  float *parts = block->ritz;
  if (settled == 0) return;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, active, settled, d, 1, vectors, d, rest, d, 0, parts,
              settled);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, active, d, settled, -1, parts, settled, rest, d, 1,
              vectors, d);
}

/* T_k(t) with t = (H - a) / a, a half of the damped interval, from T_k+1 = 2 t T_k - T_k-1; a factor of each
 * row does not matter:  image <- (H - a) rows - b older,  b = a^2 / 4, in the second step a^2 / 2. */
static void damp(qg_block *block)
{
  int elements = block->active * block->problem->d;
  float a = (float)(block->damped / 2), b = block->damped_steps == 1 ? a * a / 2 : a * a / 4;
  cblas_saxpy(elements, -a, block->rows, 1, block->product.image, 1);
  if (block->damped_steps > 0) cblas_saxpy(elements, -b, block->spare, 1, block->product.image, 1);
}

/* The image becomes the block; what was it, its companion. */
static void take_image(qg_block *block)
{
  size_t bytes = (size_t)block->active * (size_t)block->problem->d * sizeof *block->rows;
  if (block->damped > 0) memcpy(block->spare, block->rows, bytes);
  memcpy(block->rows, block->product.image, bytes);
}

/* Images whose row stands out of the ones before it by little come from Householder, which makes up a row
 * where one depends on others; beside settled rows it may not, since that might lie among them. */
static qg_status orthonormalise(qg_block *block, bool coarse)
{
  int d = block->problem->d, active = block->active;
  float *companion = block->damped > 0 ? block->spare : NULL;
  if (qg_orthonormalise_independent(active, d, coarse, block->rows, companion, &block->cholesky))
    return QG_OK;
  QG_CHECK(block->active == block->count && !companion, QG_ERR_NUMERICAL,
           "vectors of a block that is partly settled are dependent");
  return qg_orthonormalise(active, d, block->rows, &block->householder);
}

qg_status qg_block_step(qg_block *block, qg_product_grade grade)
{
  QG_TRY(qg_block_product_finish(&block->product, grade, block->active));
  if (block->damped > 0) damp(block);
  leave_settled(block, block->product.image);
  take_image(block);
  QG_TRY(orthonormalise(block, grade == QG_PRODUCT_COARSE));
  block->damped_steps += block->damped > 0;
  return QG_OK;
}

static double largest_values(const qg_block *block)
{
  double sum = 0;
  for (int k = block->count - block->problem->rank; k < block->count; k++) sum += block->values[k];
  return sum;
}

qg_status qg_block_ritz(qg_block *block, double *energy)
{
  int d = block->problem->d, active = block->active;
  /* Again: what rounding left of the settled rows in a step has grown where rows depended on each other. */
  leave_settled(block, block->rows);
  qg_block_product_ritz(&block->product, active, block->ritz);
  QG_TRY(qg_eigen_f32_top(active, active, block->ritz, &block->eigen));
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, active, d, active, 1, block->eigen.vectors, active,
              block->rows, d, 0, block->spare, d);
  memcpy(block->rows, block->spare, (size_t)active * (size_t)d * sizeof *block->rows);
  for (int k = 0; k < active; k++) block->values[k] = (double)block->eigen.values[k];
  *energy = largest_values(block);
  return QG_OK;
}

void qg_block_settle(qg_block *block, int count)
{
  for (int i = 0; i < count; i++) block->settled_energy += block->values[--block->active];
  block->damped = fmax(block->values[0], 0);
  block->damped_steps = 0;
}

qg_status qg_block_publish(qg_block *block, qg_subspace_method used, qg_subspace_job *job)
{
  int first = block->count - block->problem->rank;
  return qg_problem_publish(block->problem, block->rows + (int64_t)first * block->problem->d,
                            block->values + first, used, job);
}
