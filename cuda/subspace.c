/* Subspaces of gradients that lie on the device: block power steps with cuSOLVER's QR, the eigenvectors of
 * the Gram matrix of the short side, or the singular vectors of the gradient. What fp32 cannot settle is left
 * to the host (linalg/). */
#include "cuda/subspace.h"

#include <math.h>
#include <stdlib.h>

#include "qgalore/base.h"

enum { WARM_STEPS = 1, COLD_STEPS = 2 };

/* As in linalg/exact.c: below this share of the largest eigenvalue an fp32 one is mostly its error. */
static const double SINGLE_PRECISION_SHARE = 1e-6;
/* Squares of gradients in between, and their sums, keep all their digits in fp32. */
static const double LEAST_NORM2 = 1e-24, MOST_NORM2 = 1e30;

static qg_view rows_view(float *data, int64_t rows, int64_t cols)
{
  return qg_view_make(data, QG_F32, rows, cols);
}

static qg_status sum_of_squares(qg_backend *be, const qg_cuda_problem *p, qg_view x, double *out)
{
  QG_TRY(qg_cuda_sum_squares(be, x, p->sum, NULL));
  return qg_cuda_copy_out(be, out, p->sum, sizeof *out);
}

/* image = block G^T (right) or block G (left); *energy = tr(block H block^T) = ||image||_F^2. */
static qg_status begin_product(qg_backend *be, const qg_cuda_problem *p, double *energy)
{
  qg_view image = rows_view(p->image, p->count, p->length);
  qg_gemm_args args = {.a = rows_view(p->block, p->count, p->d),
                       .b = p->gradient,
                       .c = image,
                       .trans_b = !p->left,
                       .alpha = 1.0f};
  QG_TRY(qg_cuda_gemm(be, &args));
  return sum_of_squares(be, p, image, energy);
}

/* block <- orthonormal basis of block H, with its image and energy. To cuSOLVER's column-major eyes the block
 * is d x count with one vector a column. */
static qg_status power_step(qg_backend *be, const qg_cuda_problem *p, double *energy)
{
  cusolverDnHandle_t solver = qg_cuda_of(be)->solver;
  int d = (int)p->d, count = (int)p->count,
      floats = (int)qg_min_i64(INT32_MAX, (int64_t)(p->work_bytes / sizeof(float)));
  qg_gemm_args args = {.a = rows_view(p->image, p->count, p->length),
                       .b = p->gradient,
                       .c = rows_view(p->block, p->count, p->d),
                       .trans_b = p->left,
                       .alpha = 1.0f};
  QG_TRY(qg_cuda_gemm(be, &args));
  QG_CUSOLVER(be, cusolverDnSgeqrf(solver, d, count, p->block, d, p->tau, p->work, floats, p->info));
  QG_CUSOLVER(be, cusolverDnSorgqr(solver, d, count, count, p->block, d, p->tau, p->work, floats, p->info));
  return begin_product(be, p, energy);
}

/* matrix <- its eigenvectors, one a row in our eyes, with ascending eigenvalues; *good: the solver converged.
 */
static qg_status decompose(qg_backend *be, const qg_cuda_problem *p, int64_t order, bool *good)
{
  int info = 1;
  QG_CUSOLVER(be, cusolverDnXsyevd(qg_cuda_of(be)->solver, qg_cuda_of(be)->solver_params,
                                   CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, order, CUDA_R_32F,
                                   p->matrix, order, CUDA_R_32F, p->eigenvalues, CUDA_R_32F, p->work,
                                   p->work_bytes, p->host_work, p->host_bytes, p->info));
  QG_TRY(qg_cuda_copy_out(be, &info, p->info, sizeof info));
  *good = info == 0;
  return QG_OK;
}

/* The largest `rank` eigenvalues of `order` into singular_values as they ascend; their sum, and whether they
 * are sound in fp32. */
static qg_status fetch_eigenvalues(qg_backend *be, const qg_cuda_problem *p, int64_t order,
                                   qg_subspace_args *a, double *captured, bool *sound)
{
  float *values = a->singular_values;
  QG_TRY(qg_cuda_copy_out(be, values, p->eigenvalues + (order - p->rank), qg_dtype_bytes(QG_F32, p->rank)));
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

/* `rows` [rank, d] and singular_values ascend, the latter as eigenvalues. */
static qg_status publish(qg_backend *be, const qg_cuda_problem *p, const float *rows, double captured,
                         qg_subspace_args *a)
{
  QG_CUDA(be, qg_k_publish_basis(qg_cuda_of(be)->stream, rows, true, p->left, p->rank, p->d, a->basis));
  to_singular_values(a->singular_values, p->rank);
  a->energy = fmin(captured / p->norm2, 1.0);
  a->accepted = true;
  return QG_OK;
}

static qg_status solve_exactly(qg_backend *be, const qg_cuda_problem *p, qg_subspace_args *a)
{
  bool good, sound;
  double captured;
  qg_gemm_args gram = {.a = p->gradient,
                       .b = p->gradient,
                       .c = rows_view(p->matrix, p->d, p->d),
                       .trans_a = !p->left,
                       .trans_b = p->left,
                       .alpha = 1.0f};
  QG_TRY(qg_cuda_gemm(be, &gram));
  QG_TRY(decompose(be, p, p->d, &good));
  if (!good) return QG_OK;
  QG_TRY(fetch_eigenvalues(be, p, p->d, a, &captured, &sound));
  return sound ? publish(be, p, p->matrix + (p->d - p->rank) * p->d, captured, a) : QG_OK;
}

/* cuSOLVER gives V^T column by column: component j of vector i is at [j, i], and values descend. */
static qg_status publish_singular_vectors(qg_backend *be, const qg_cuda_problem *p, qg_subspace_args *a)
{
  double captured = 0.0;
  QG_CUDA(be, qg_k_load_basis(qg_cuda_of(be)->stream, p->matrix, true, p->d, p->d, p->rows));
  QG_CUDA(be, qg_k_publish_basis(qg_cuda_of(be)->stream, p->rows, false, p->left, p->rank, p->d, a->basis));
  QG_TRY(qg_cuda_copy_out(be, a->singular_values, p->eigenvalues, qg_dtype_bytes(QG_F32, p->rank)));
  for (int64_t k = 0; k < p->rank; k++)
    captured += (double)a->singular_values[k] * (double)a->singular_values[k];
  a->energy = fmin(captured / p->norm2, 1.0);
  a->accepted = isfinite(captured);
  return QG_OK;
}

/* Of G^T or G, whichever is tall to column-major eyes: cuSOLVER wants no fewer rows than columns, and
 * overwrites its matrix. */
static qg_status solve_by_svd(qg_backend *be, const qg_cuda_problem *p, qg_subspace_args *a)
{
  qg_cuda *cuda = qg_cuda_of(be);
  int info = 1;
  QG_CUDA(be, qg_k_load_basis(cuda->stream, p->gradient.data, !p->left, p->d, p->length, p->image));
  QG_CUSOLVER(be, cusolverDnXgesvd(cuda->solver, cuda->solver_params, 'N', 'S', p->length, p->d, CUDA_R_32F,
                                   p->image, p->length, CUDA_R_32F, p->eigenvalues, CUDA_R_32F, NULL,
                                   p->length, CUDA_R_32F, p->matrix, p->d, CUDA_R_32F, p->work, p->work_bytes,
                                   p->host_work, p->host_bytes, p->info));
  QG_TRY(qg_cuda_copy_out(be, &info, p->info, sizeof info));
  return info == 0 ? publish_singular_vectors(be, p, a) : QG_OK;
}

/* The old basis if there is one, and random vectors; *scale is ||block||_F^2 / count. */
static qg_status start_block(qg_backend *be, const qg_cuda_problem *p, const qg_subspace_args *a,
                             double *scale)
{
  cudaStream_t stream = qg_cuda_of(be)->stream;
  int64_t known = a->previous ? p->rank : 0;
  if (a->previous) QG_CUDA(be, qg_k_load_basis(stream, a->previous, p->left, p->rank, p->d, p->block));
  QG_CUDA(be, qg_k_random_rows(stream, a->seed, p->count - known, p->d, p->block + known * p->d));
  QG_TRY(sum_of_squares(be, p, rows_view(p->block, p->count, p->d), scale));
  *scale /= (double)p->count;
  return QG_OK;
}

/* The best `rank` directions inside the block: eigenvectors of block H block^T = image image^T. */
static qg_status rayleigh_ritz(qg_backend *be, const qg_cuda_problem *p, qg_subspace_args *a,
                               double *captured, bool *sound)
{
  qg_gemm_args ritz = {.a = rows_view(p->image, p->count, p->length),
                       .b = rows_view(p->image, p->count, p->length),
                       .c = rows_view(p->matrix, p->count, p->count),
                       .trans_b = true,
                       .alpha = 1.0f};
  qg_gemm_args mix = {.a = rows_view(p->matrix + (p->count - p->rank) * p->count, p->rank, p->count),
                      .b = rows_view(p->block, p->count, p->d),
                      .c = rows_view(p->rows, p->rank, p->d),
                      .alpha = 1.0f};
  QG_TRY(qg_cuda_gemm(be, &ritz));
  QG_TRY(decompose(be, p, p->count, sound));
  if (!*sound) return QG_OK;
  QG_TRY(fetch_eigenvalues(be, p, p->count, a, captured, sound));
  return qg_cuda_gemm(be, &mix);
}

/* Gains shrink from step to step; half of the last one is the estimate of what is still missing
 * (linalg/power.c). */
static bool is_enough(const qg_cuda_problem *p, const qg_subspace_args *a, double captured, double gain)
{
  return captured >= a->min_energy_ratio * fmin(p->norm2, captured + fmax(gain, 0.0) / 2.0);
}

static qg_status solve_by_power(qg_backend *be, const qg_cuda_problem *p, qg_subspace_args *a)
{
  int steps = a->previous ? WARM_STEPS : COLD_STEPS;
  double scale, energy, before, captured = 0.0;
  bool sound = true;
  QG_TRY(start_block(be, p, a, &scale));
  QG_TRY(begin_product(be, p, &energy));
  energy /= scale;
  for (int step = 1; step <= steps + a->more_steps && sound; step++) {
    before = energy;
    QG_TRY(power_step(be, p, &energy));
    if (step < steps) continue;
    QG_TRY(rayleigh_ritz(be, p, a, &captured, &sound));
    if (sound && is_enough(p, a, captured, energy - before)) return publish(be, p, p->rows, captured, a);
  }
  return QG_OK;
}

static qg_status solve(qg_backend *be, const qg_cuda_problem *p, qg_subspace_args *a)
{
  switch (a->solver) {
    case QG_SOLVER_GRAM:
      return solve_exactly(be, p, a);
    case QG_SOLVER_SVD:
      return solve_by_svd(be, p, a);
    default:
      return solve_by_power(be, p, a);
  }
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
  QG_TRY(sum_of_squares(be, &p, p.gradient, &p.norm2));
  if (!(p.norm2 >= LEAST_NORM2 && p.norm2 <= MOST_NORM2)) return QG_OK;
  QG_TRY(qg_calloc(1, p.host_bytes + 1, "cuSOLVER's scratch on the host", &p.host_work));
  qg_status status = solve(be, &p, a);
  free(p.host_work);
  return status;
}
