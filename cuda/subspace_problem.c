/* Where the arrays of a subspace problem lie, and its statistics. */
#include "cuda/subspace_problem.h"

#include "qgalore/base.h"

enum { ALIGNMENT = 256 };

/* Squares of gradients in between, and their sums, keep all their digits in fp32. */
static const double LEAST_NORM2 = 1e-24, MOST_NORM2 = 1e30;

static void *take(char **next, size_t bytes)
{
  void *piece = *next;
  *next += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return piece;
}

static float *take_matrix(char **next, int64_t rows, int64_t cols)
{
  return take(next, qg_dtype_bytes(QG_F32, rows * cols));
}

static qg_status measure_eigenproblem(qg_backend *be, qg_cuda_problem *p, int64_t order)
{
  qg_cuda *cuda = qg_cuda_of(be);
  size_t device = 0, host = 0;
  QG_CUSOLVER(be, cusolverDnXsyevd_bufferSize(cuda->solver, cuda->solver_params, CUSOLVER_EIG_MODE_VECTOR,
                                              CUBLAS_FILL_MODE_LOWER, order, CUDA_R_32F, p->matrix, order,
                                              CUDA_R_32F, p->eigenvalues, CUDA_R_32F, &device, &host));
  p->work_bytes = qg_max_size(p->work_bytes, device);
  p->host_bytes = qg_max_size(p->host_bytes, host);
  return QG_OK;
}

static qg_status measure_orthonormalisation(qg_backend *be, qg_cuda_problem *p)
{
  cusolverDnHandle_t solver = qg_cuda_of(be)->solver;
  int qr = 0, orthonormal = 0, doubles = 0, d, count;
  QG_TRY(qg_narrow_int(p->d, "elements of a basis vector", &d));
  QG_TRY(qg_narrow_int(p->count, "vectors of a block", &count));
  QG_CUSOLVER(be, cusolverDnSgeqrf_bufferSize(solver, d, count, p->block, d, &qr));
  QG_CUSOLVER(be, cusolverDnSorgqr_bufferSize(solver, d, count, count, p->block, d, p->tau, &orthonormal));
  QG_CUSOLVER(be,
              cusolverDnDpotrf_bufferSize(solver, CUBLAS_FILL_MODE_UPPER, count, p->gram, count, &doubles));
  p->work_bytes = qg_max_size(p->work_bytes, (size_t)qg_max_i64(qr, orthonormal) * sizeof(float));
  p->work_bytes = qg_max_size(p->work_bytes, (size_t)doubles * sizeof(double));
  return QG_OK;
}

static qg_status measure_svd(qg_backend *be, qg_cuda_problem *p)
{
  qg_cuda *cuda = qg_cuda_of(be);
  QG_CUSOLVER(be, cusolverDnXgesvd_bufferSize(cuda->solver, cuda->solver_params, 'N', 'S', p->length, p->d,
                                              CUDA_R_32F, p->image, p->length, CUDA_R_32F, p->eigenvalues,
                                              CUDA_R_32F, NULL, p->length, CUDA_R_32F, p->matrix, p->d,
                                              CUDA_R_32F, &p->work_bytes, &p->host_bytes));
  return QG_OK;
}

/* cuSOLVER cannot be asked without a device: eigenvectors by divide and conquer work on some copies of the
 * matrix, and what the SVD wants beyond that is small. */
static qg_status estimate_work(qg_cuda_problem *p, int64_t order)
{
  enum { COPIES = 3 };
  p->work_bytes = qg_dtype_bytes(QG_F32, COPIES * order * order);
  return QG_OK;
}

/* cuSOLVER's scratch: the most that any of the calls wants. */
static qg_status measure_work(qg_backend *be, qg_cuda_problem *p, qg_device_solver solver)
{
  if (be->planned) return estimate_work(p, solver == QG_SOLVER_POWER ? p->count : p->d);
  if (solver == QG_SOLVER_SVD) return measure_svd(be, p);
  if (solver == QG_SOLVER_GRAM) return measure_eigenproblem(be, p, p->d);
  QG_TRY(measure_eigenproblem(be, p, p->count));
  QG_TRY(measure_eigenproblem(be, p, qg_min_i64(QG_CUDA_CANDIDATES, p->count)));
  return measure_orthonormalisation(be, p);
}

/* Products of bf16 take a slice of the gradient of about SLICE_BYTES at a time, enough work to fill a device.
 * The same slice of the image has to fit in place of `rows`. */
static void place_rounded(qg_cuda_problem *p, char **next)
{
  enum { SLICE_BYTES = 24 << 20, EVEN = 8 };
  int64_t most = qg_min_i64(2 * p->d, SLICE_BYTES / (int64_t)qg_dtype_bytes(QG_BF16, p->d));
  p->slice = qg_min_i64(p->length, most < EVEN ? most : most / EVEN * EVEN);
  p->rounded = take(next, qg_dtype_bytes(QG_BF16, p->slice * p->d));
}

static void place_arrays(qg_cuda_problem *p, qg_device_solver solver, char **next)
{
  bool power = solver == QG_SOLVER_POWER, svd = solver == QG_SOLVER_SVD;
  int64_t order = power ? p->count : p->d, vectors = power ? p->count : 0;
  size_t rows = qg_dtype_bytes(QG_F32, (svd ? p->d : vectors) * p->d);
  p->matrix = take_matrix(next, order, order);
  p->block = take_matrix(next, vectors, p->d);
  p->image = take_matrix(next, svd ? p->d : vectors, p->length);
  p->gram = take(next, qg_max_size(rows, qg_dtype_bytes(QG_F64, vectors * vectors)));
  p->rows = (float *)p->gram;
  p->tau = take_matrix(next, 1, vectors);
  p->stats = take(next, sizeof *p->stats + qg_dtype_bytes(QG_F32, order));
  p->eigenvalues = p->stats->least_values;
}

qg_status qg_cuda_lay_out(qg_backend *be, int64_t m, int64_t n, int64_t rank, qg_device_solver solver,
                          char *memory, qg_cuda_problem *p, size_t *bytes)
{
  /* Nobody promises that cuSOLVER sizes anything for matrices at NULL. */
  char *start = memory ? memory : (char *)qg_cuda_of(be)->tables, *next = start;
  int64_t d = qg_min_i64(m, n);
  *p = (qg_cuda_problem){.left = m < n,
                         .d = d,
                         .length = qg_max_i64(m, n),
                         .rank = rank,
                         .slice = qg_max_i64(m, n),
                         .count = qg_min_i64(rank + QG_CUDA_OVERSAMPLING, d)};
  place_arrays(p, solver, &next);
  if (be->compute == QG_BF16 && solver == QG_SOLVER_POWER) place_rounded(p, &next);
  p->work = next;
  *bytes = (size_t)(next - start);
  QG_TRY(measure_work(be, p, solver));
  *bytes += p->work_bytes;
  return QG_OK;
}

size_t qg_cuda_subspace_bytes(qg_backend *be, int64_t m, int64_t n, int64_t rank, qg_device_solver solver)
{
  qg_cuda_problem p;
  size_t bytes = 0;
  return qg_cuda_lay_out(be, m, n, rank, solver, NULL, &p, &bytes) == QG_OK ? bytes : 0;
}

qg_status qg_cuda_fetch_stats(qg_backend *be, const qg_cuda_problem *p, qg_cuda_subspace_stats *out)
{
  return qg_cuda_copy_out(be, out, p->stats, sizeof *out);
}

bool qg_cuda_is_usable(const qg_cuda_subspace_stats *v)
{
  return v->norm2 >= LEAST_NORM2 && v->norm2 <= MOST_NORM2;
}
