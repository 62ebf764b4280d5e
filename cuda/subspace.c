/* Subspaces of gradients that lie on the device: block power steps with cuSOLVER's QR, or the eigenvectors of
 * the Gram matrix of the short side. What fp32 cannot settle is left to the host (linalg/). */
#include <math.h>
#include <stdlib.h>

#include "cuda/cuda_backend.h"
#include "qgalore/base.h"

enum { OVERSAMPLING = 16, ALIGNMENT = 256, WARM_STEPS = 1, COLD_STEPS = 2 };

/* As in linalg/exact.c: below this share of the largest eigenvalue an fp32 one is mostly its error. */
static const double SINGLE_PRECISION_SHARE = 1e-6;
/* Squares of gradients in between, and their sums, keep all their digits in fp32. */
static const double LEAST_NORM2 = 1e-24, MOST_NORM2 = 1e30;

/* One problem: H = G^T G (right) or G G^T (left) is [d, d]. Device memory but for the sizes. */
typedef struct {
  qg_view gradient;
  bool left;
  int64_t d, length, rank, count; /* count: vectors of the block */
  double norm2;
  float *block;  /* [count, d] */
  float *image;  /* [count, length]: block G^T, or block G */
  float *matrix; /* [count, count], or the Gram matrix [d, d] */
  float *rows;   /* [count, d] */
  float *eigenvalues, *tau;
  double *sum;
  int *info;
  void *work, *host_work;
  size_t work_bytes, host_bytes;
} problem;

static int64_t order_of(const problem *p, bool exact)
{
  return exact ? p->d : p->count;
}

static void *carve(char **next, size_t bytes)
{
  void *piece = *next;
  *next += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return piece;
}

/* Gives every array its place; returns the bytes before cuSOLVER's own. */
static size_t lay_out(problem *p, bool exact, char *memory)
{
  char *next = memory;
  int64_t order = order_of(p, exact), block = exact ? 0 : p->count;
  p->matrix = carve(&next, qg_dtype_bytes(QG_F32, order * order));
  p->eigenvalues = carve(&next, qg_dtype_bytes(QG_F32, order));
  p->block = carve(&next, qg_dtype_bytes(QG_F32, block * p->d));
  p->image = carve(&next, qg_dtype_bytes(QG_F32, block * p->length));
  p->rows = carve(&next, qg_dtype_bytes(QG_F32, qg_max_i64(block, p->rank) * p->d));
  p->tau = carve(&next, qg_dtype_bytes(QG_F32, block));
  p->sum = carve(&next, sizeof *p->sum);
  p->info = carve(&next, sizeof *p->info);
  p->work = next;
  return (size_t)(next - memory);
}

/* cuSOLVER's scratch: the most that any of the calls wants. */
static qg_status measure_work(qg_backend *be, problem *p, bool exact)
{
  cusolverDnHandle_t solver = qg_cuda_of(be)->solver;
  int qr = 0, orthonormal = 0, d, count;
  QG_CUSOLVER(be, cusolverDnXsyevd_bufferSize(solver, qg_cuda_of(be)->solver_params, CUSOLVER_EIG_MODE_VECTOR,
                                              CUBLAS_FILL_MODE_LOWER, order_of(p, exact), CUDA_R_32F,
                                              p->matrix, order_of(p, exact), CUDA_R_32F, p->eigenvalues,
                                              CUDA_R_32F, &p->work_bytes, &p->host_bytes));
  if (exact) return QG_OK;
  QG_TRY(qg_narrow_int(p->d, "elements of a basis vector", &d));
  QG_TRY(qg_narrow_int(p->count, "vectors of a block", &count));
  QG_CUSOLVER(be, cusolverDnSgeqrf_bufferSize(solver, d, count, p->block, d, &qr));
  QG_CUSOLVER(be, cusolverDnSorgqr_bufferSize(solver, d, count, count, p->block, d, p->tau, &orthonormal));
  size_t floats = (size_t)(qr > orthonormal ? qr : orthonormal);
  if (floats * sizeof(float) > p->work_bytes) p->work_bytes = floats * sizeof(float);
  return QG_OK;
}

static problem make_problem(int64_t m, int64_t n, int64_t rank)
{
  int64_t d = qg_min_i64(m, n);
  return (problem){.left = m < n,
                   .d = d,
                   .length = qg_max_i64(m, n),
                   .rank = rank,
                   .count = qg_min_i64(rank + OVERSAMPLING, d)};
}

size_t qg_cuda_subspace_bytes(qg_backend *be, int64_t m, int64_t n, int64_t rank, bool exact)
{
  problem p = make_problem(m, n, rank);
  size_t own = lay_out(&p, exact, NULL);
  return measure_work(be, &p, exact) == QG_OK ? own + p.work_bytes : own;
}

static qg_view rows_view(float *data, int64_t rows, int64_t cols)
{
  return qg_view_make(data, QG_F32, rows, cols);
}

static qg_status sum_of_squares(qg_backend *be, const problem *p, qg_view x, double *out)
{
  QG_TRY(qg_cuda_sum_squares(be, x, p->sum));
  return qg_cuda_copy_out(be, out, p->sum, sizeof *out);
}

/* image = block G^T (right) or block G (left); *energy = tr(block H block^T) = ||image||_F^2. */
static qg_status begin_product(qg_backend *be, const problem *p, double *energy)
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
static qg_status power_step(qg_backend *be, const problem *p, double *energy)
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
static qg_status decompose(qg_backend *be, const problem *p, int64_t order, bool *good)
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
static qg_status fetch_eigenvalues(qg_backend *be, const problem *p, int64_t order, qg_subspace_args *a,
                                   double *captured, bool *sound)
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

/* `rows` [rank, d] ascend. The basis travels through `staging`, device memory that is no longer needed. */
static qg_status publish(qg_backend *be, const problem *p, const float *rows, float *staging, double captured,
                         qg_subspace_args *a)
{
  QG_CUDA(be, qg_k_publish_basis(qg_cuda_of(be)->stream, rows, p->left, p->rank, p->d, staging));
  QG_TRY(qg_cuda_copy_out(be, a->basis, staging, qg_dtype_bytes(QG_F32, p->rank * p->d)));
  to_singular_values(a->singular_values, p->rank);
  a->energy = fmin(captured / p->norm2, 1.0);
  a->accepted = true;
  return QG_OK;
}

static qg_status solve_exactly(qg_backend *be, const problem *p, qg_subspace_args *a)
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
  return sound ? publish(be, p, p->matrix + (p->d - p->rank) * p->d, p->rows, captured, a) : QG_OK;
}

/* The old basis if there is one, and random vectors; *scale is ||block||_F^2 / count. */
static qg_status start_block(qg_backend *be, const problem *p, const qg_subspace_args *a, double *scale)
{
  cudaStream_t stream = qg_cuda_of(be)->stream;
  int64_t known = a->previous ? p->rank : 0;
  if (a->previous) {
    QG_TRY(qg_cuda_copy_in(be, p->rows, a->previous, qg_dtype_bytes(QG_F32, p->rank * p->d)));
    QG_CUDA(be, qg_k_load_basis(stream, p->rows, p->left, p->rank, p->d, p->block));
  }
  QG_CUDA(be, qg_k_random_rows(stream, a->seed, p->count - known, p->d, p->block + known * p->d));
  QG_TRY(sum_of_squares(be, p, rows_view(p->block, p->count, p->d), scale));
  *scale /= (double)p->count;
  return QG_OK;
}

/* The best `rank` directions inside the block: eigenvectors of block H block^T = image image^T. */
static qg_status rayleigh_ritz(qg_backend *be, const problem *p, qg_subspace_args *a, double *captured,
                               bool *sound)
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
static bool is_enough(const problem *p, const qg_subspace_args *a, double captured, double gain)
{
  return captured >= a->min_energy_ratio * fmin(p->norm2, captured + fmax(gain, 0.0) / 2.0);
}

static qg_status solve_by_power(qg_backend *be, const problem *p, qg_subspace_args *a)
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
    if (sound && is_enough(p, a, captured, energy - before))
      return publish(be, p, p->rows, p->image, captured, a);
  }
  return QG_OK;
}

qg_status qg_cuda_subspace(qg_backend *be, qg_subspace_args *a)
{
  QG_CUDA_RANGE("subspace");
  problem p = make_problem(a->gradient.rows, a->gradient.cols, a->rank);
  a->accepted = false;
  p.gradient = a->gradient;
  size_t bytes = lay_out(&p, a->exact, a->workspace);
  QG_TRY(measure_work(be, &p, a->exact));
  QG_CHECK(bytes + p.work_bytes <= a->workspace_bytes, QG_ERR_RUNTIME,
           "a subspace needs %zu bytes of workspace, not %zu", bytes + p.work_bytes, a->workspace_bytes);
  QG_TRY(sum_of_squares(be, &p, p.gradient, &p.norm2));
  if (!(p.norm2 >= LEAST_NORM2 && p.norm2 <= MOST_NORM2)) return QG_OK;
  QG_TRY(qg_calloc(1, p.host_bytes + 1, "cuSOLVER's scratch on the host", &p.host_work));
  qg_status status = a->exact ? solve_exactly(be, &p, a) : solve_by_power(be, &p, a);
  free(p.host_work);
  return status;
}
