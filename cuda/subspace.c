/* Subspaces of gradients that lie on the device: block power steps, the eigenvectors of the Gram matrix of
 * the short side, or the singular vectors of the gradient. What fp32 cannot settle is left to the host
 * (linalg/). */
#include <math.h>
#include <stdlib.h>

#include "cuda/block_product.h"
#include "cuda/orthonormal.h"
#include "cuda/subspace_problem.h"
#include "qgalore/base.h"

enum { WARM_STEPS = 1, COLD_STEPS = 2 };

/* As in linalg/exact.c: below this share of the largest eigenvalue an fp32 one is mostly its error. */
static const double SINGLE_PRECISION_SHARE = 1e-6;

/* block <- orthonormal basis of block H, and its image. *stats is of the block before. */
static qg_status power_step(qg_backend *be, const qg_cuda_problem *p, bool whole,
                            qg_cuda_subspace_stats *stats)
{
  QG_TRY(qg_cuda_finish_product(be, p));
  QG_TRY(qg_cuda_orthonormalise(be, p, stats));
  return qg_cuda_is_usable(stats) ? qg_cuda_begin_product(be, p, whole) : QG_OK;
}

/* matrix <- its eigenvectors, one a row of the row-major matrix, with ascending eigenvalues. */
static qg_status decompose(qg_backend *be, const qg_cuda_problem *p, int64_t order)
{
  QG_CUSOLVER(be, cusolverDnXsyevd(qg_cuda_of(be)->solver, qg_cuda_of(be)->solver_params,
                                   CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, order, CUDA_R_32F,
                                   p->matrix, order, CUDA_R_32F, p->eigenvalues, CUDA_R_32F, p->work,
                                   p->work_bytes, p->host_work, p->host_bytes, &p->stats->info));
  return QG_OK;
}

/* The largest `rank` eigenvalues into singular_values as they ascend; their sum, and whether they are sound
 * in fp32. */
static qg_status fetch_eigenvalues(qg_backend *be, const qg_cuda_problem *p, qg_subspace_args *a,
                                   double *captured, bool *sound)
{
  float *values = a->singular_values;
  QG_TRY(qg_cuda_copy_out(be, values, p->eigenvalues + (p->d - p->rank), qg_dtype_bytes(QG_F32, p->rank)));
  *captured = 0.0;
  for (int64_t k = 0; k < p->rank; k++) *captured += (double)values[k];
  double largest = (double)values[p->rank - 1];
  *sound = isfinite(*captured) && (double)values[0] >= SINGLE_PRECISION_SHARE * largest;
  return QG_OK;
}

static void to_singular_values(float *values, int64_t rank)
{
  for (int64_t k = 0; k < rank / 2; k++) {
    float low = values[k];
    values[k] = values[rank - 1 - k];
    values[rank - 1 - k] = low;
  }
  for (int64_t k = 0; k < rank; k++) values[k] = sqrtf(fmaxf(values[k], 0.0f));
}

/* `rows` [rank, d], of which the last `ascending` go backwards. */
static qg_status store_basis(qg_backend *be, const qg_cuda_problem *p, const float *rows, int64_t ascending,
                             double captured, qg_subspace_args *a)
{
  QG_CUDA(be, qg_k_store_basis(qg_cuda_of(be)->stream, rows, ascending, p->left, p->rank, p->d, a->basis));
  a->energy = fmin(captured / p->norm2, 1.0);
  a->accepted = true;
  return QG_OK;
}

static qg_status solve_exactly(qg_backend *be, const qg_cuda_problem *p, qg_subspace_args *a)
{
  bool sound = false;
  double captured = 0.0;
  qg_cuda_subspace_stats stats;
  qg_gemm_args gram = {.a = p->gradient,
                       .b = p->gradient,
                       .c = qg_cuda_matrix(p->matrix, p->d, p->d),
                       .trans_a = !p->left,
                       .trans_b = p->left,
                       .alpha = 1.0f};
  QG_TRY(qg_cuda_gemm(be, &gram));
  QG_TRY(decompose(be, p, p->d));
  QG_TRY(qg_cuda_fetch_stats(be, p, &stats));
  if (stats.info != 0) return QG_OK;
  QG_TRY(fetch_eigenvalues(be, p, a, &captured, &sound));
  if (!sound) return QG_OK;
  to_singular_values(a->singular_values, p->rank);
  return store_basis(be, p, p->matrix + (p->d - p->rank) * p->d, p->rank, captured, a);
}

/* cuSOLVER gives V^T column by column: component j of vector i is at [j, i], and values descend. */
static qg_status store_singular_vectors(qg_backend *be, const qg_cuda_problem *p, qg_subspace_args *a)
{
  double captured = 0.0;
  QG_CUDA(be, qg_k_load_basis(qg_cuda_of(be)->stream, p->matrix, true, p->d, p->d, p->rows));
  QG_CUDA(be, qg_k_store_basis(qg_cuda_of(be)->stream, p->rows, 0, p->left, p->rank, p->d, a->basis));
  QG_TRY(qg_cuda_copy_out(be, a->singular_values, p->eigenvalues, qg_dtype_bytes(QG_F32, p->rank)));
  for (int64_t k = 0; k < p->rank; k++)
    captured += (double)a->singular_values[k] * (double)a->singular_values[k];
  a->energy = fmin(captured / p->norm2, 1.0);
  a->accepted = isfinite(captured);
  return QG_OK;
}

/* Of G^T or G, whichever is tall as a column-major matrix: cuSOLVER wants no fewer rows than columns, and
 * overwrites its matrix. */
static qg_status solve_by_svd(qg_backend *be, const qg_cuda_problem *p, qg_subspace_args *a)
{
  qg_cuda *cuda = qg_cuda_of(be);
  qg_cuda_subspace_stats stats;
  QG_CUDA(be, qg_k_load_basis(cuda->stream, p->gradient.data, !p->left, p->d, p->length, p->image));
  QG_CUSOLVER(be, cusolverDnXgesvd(cuda->solver, cuda->solver_params, 'N', 'S', p->length, p->d, CUDA_R_32F,
                                   p->image, p->length, CUDA_R_32F, p->eigenvalues, CUDA_R_32F, NULL,
                                   p->length, CUDA_R_32F, p->matrix, p->d, CUDA_R_32F, p->work, p->work_bytes,
                                   p->host_work, p->host_bytes, &p->stats->info));
  QG_TRY(qg_cuda_fetch_stats(be, p, &stats));
  return stats.info == 0 ? store_singular_vectors(be, p, a) : QG_OK;
}

/* The old basis if there is one, and random vectors. */
static qg_status start_block(qg_backend *be, const qg_cuda_problem *p, const qg_subspace_args *a)
{
  cudaStream_t stream = qg_cuda_of(be)->stream;
  int64_t known = a->previous ? p->rank : 0;
  if (a->previous) QG_CUDA(be, qg_k_load_basis(stream, a->previous, p->left, p->rank, p->d, p->block));
  QG_CUDA(be, qg_k_random_rows(stream, a->seed, p->count - known, p->d, p->block + known * p->d));
  return qg_cuda_sum_squares(be, qg_cuda_matrix(p->block, p->count, p->d), &p->stats->scale, NULL);
}

/* matrix <- eigenvectors of V H V^T for the last `order` vectors V of the block (Rayleigh and Ritz). What the
 * block captures without the least count - rank of them. */
static qg_status solve_candidates(qg_backend *be, const qg_cuda_problem *p, int64_t order,
                                  qg_cuda_subspace_stats *stats, double *captured)
{
  qg_view last = qg_cuda_matrix(p->image + (p->count - order) * p->length, order, p->length);
  qg_gemm_args ritz = {
      .a = last, .b = last, .c = qg_cuda_matrix(p->matrix, order, order), .trans_b = true, .alpha = 1.0f};
  QG_TRY(qg_cuda_gemm(be, &ritz));
  QG_TRY(decompose(be, p, order));
  QG_TRY(qg_cuda_fetch_stats(be, p, stats));
  *captured = stats->energy;
  for (int64_t k = 0; k < p->count - p->rank; k++) *captured -= fmax((double)stats->least_values[k], 0.0);
  return QG_OK;
}

/* The vectors before the candidates, and the largest of these, which ascend. */
static qg_status store_block(qg_backend *be, const qg_cuda_problem *p, int64_t order, double captured,
                             qg_subspace_args *a)
{
  int64_t first = p->count - order, kept = p->rank - first;
  float *candidates = p->block + first * p->d;
  qg_gemm_args mix = {.a = qg_cuda_matrix(p->matrix + (order - kept) * order, kept, order),
                      .b = qg_cuda_matrix(candidates, order, p->d),
                      .c = qg_cuda_matrix(p->rows, kept, p->d),
                      .alpha = 1.0f};
  QG_TRY(qg_cuda_gemm(be, &mix));
  QG_TRY(qg_cuda_convert(be, qg_cuda_matrix(candidates, kept, p->d), mix.c));
  return store_basis(be, p, p->block, kept, captured, a);
}

/* Gains shrink from step to step; half of the last one is the estimate of what is still missing
 * (linalg/power_iteration.c). */
static bool is_enough(const qg_cuda_problem *p, const qg_subspace_args *a, double captured, double gain)
{
  return captured >= a->min_energy_ratio * fmin(p->norm2, captured + fmax(gain, 0.0) / 2.0);
}

/* The host waits where it has to decide: whether rows are independent, and whether what they capture is
 * enough. A random start is followed by Ritz vectors of the whole block, so that warm ones begin in their
 * order. */
static qg_status solve_by_power(qg_backend *be, qg_cuda_problem *p, qg_subspace_args *a)
{
  int steps = a->previous ? WARM_STEPS : COLD_STEPS;
  int64_t order = a->previous ? qg_min_i64(QG_CUDA_CANDIDATES, p->count) : p->count;
  double captured = 0.0;
  qg_cuda_subspace_stats before, after;
  QG_TRY(start_block(be, p, a));
  QG_TRY(qg_cuda_begin_product(be, p, false));
  for (int step = 1; step <= steps + a->more_steps; step++) {
    QG_TRY(power_step(be, p, step >= steps, &before));
    if (!qg_cuda_is_usable(&before) || !isfinite(before.energy)) return QG_OK;
    p->norm2 = before.norm2;
    if (step < steps) continue;
    double scale = step == 1 ? before.scale / (double)p->count : 1.0;
    QG_TRY(solve_candidates(be, p, order, &after, &captured));
    if (after.info != 0) return QG_OK;
    if (is_enough(p, a, captured, after.energy - before.energy / scale))
      return store_block(be, p, order, captured, a);
  }
  return QG_OK;
}

/* What the eigensolvers are given has to be finite. */
static qg_status solve_whole(qg_backend *be, qg_cuda_problem *p, qg_subspace_args *a)
{
  qg_cuda_subspace_stats stats;
  QG_TRY(qg_cuda_fetch_stats(be, p, &stats));
  p->norm2 = stats.norm2;
  if (!qg_cuda_is_usable(&stats)) return QG_OK;
  return a->solver == QG_SOLVER_GRAM ? solve_exactly(be, p, a) : solve_by_svd(be, p, a);
}

/* Scratch on the host, which grows to the most that was asked for and is kept for the next refresh. */
static qg_status host_scratch(qg_cuda *cuda, size_t bytes, void **out)
{
  if (bytes > cuda->solver_host_bytes) {
    free(cuda->solver_host_work);
    cuda->solver_host_work = NULL;
    cuda->solver_host_bytes = 0;
    QG_TRY(qg_calloc(1, bytes, "cuSOLVER's scratch on the host", &cuda->solver_host_work));
    cuda->solver_host_bytes = bytes;
  }
  *out = cuda->solver_host_work;
  return QG_OK;
}

qg_status qg_cuda_subspace(qg_backend *be, qg_subspace_args *a)
{
  QG_CUDA_RANGE("subspace");
  qg_cuda_problem p;
  size_t bytes;
  a->accepted = false;
  QG_TRY(
      qg_cuda_lay_out(be, a->gradient.rows, a->gradient.cols, a->rank, a->solver, a->workspace, &p, &bytes));
  p.gradient = a->gradient;
  QG_CHECK(bytes <= a->workspace_bytes, QG_ERR_RUNTIME, "a subspace needs %zu bytes of workspace, not %zu",
           bytes, a->workspace_bytes);
  QG_TRY(host_scratch(qg_cuda_of(be), p.host_bytes, &p.host_work));
  QG_TRY(qg_cuda_sum_squares(be, p.gradient, &p.stats->norm2, NULL));
  return a->solver == QG_SOLVER_POWER ? solve_by_power(be, &p, a) : solve_whole(be, &p, a);
}
