/* Cholesky's factor and what goes with it, column-major, upper triangles, in plain loops and double
 * precision. What the calls of the libraries leave alone stays alone; other arguments are refused. */
#include <cmath>
#include <cstring>

#include "arena.h"
#include "cusolverDn.h"
#include "handles.h"
#include "streams.h"

namespace {

enum { WORK_DOUBLES = 512 };

/* The upper triangle of C = alpha A^T A + beta C, A [k, n]. */
void update_upper(int n, int k, double alpha, const double *a, int64_t lda, double beta, double *c,
                  int64_t ldc)
{
  for (int64_t j = 0; j < n; j++)
    for (int64_t i = 0; i <= j; i++) {
      double sum = 0.0;
      for (int64_t l = 0; l < k; l++) sum += a[i * lda + l] * a[j * lda + l];
      c[j * ldc + i] = alpha * sum + (beta == 0.0 ? 0.0 : beta * c[j * ldc + i]);
    }
}

/* R over the upper triangle; the number of the first pivot that is not positive, from 1, or 0. */
int factorise(int n, double *a, int64_t lda)
{
  for (int64_t j = 0; j < n; j++)
    for (int64_t i = 0; i <= j; i++) {
      double sum = a[j * lda + i];
      for (int64_t l = 0; l < i; l++) sum -= a[i * lda + l] * a[j * lda + l];
      if (i < j) a[j * lda + i] = sum / a[i * lda + i];
      else if (!(sum > 0.0))
        return static_cast<int>(j) + 1;
      else
        a[j * lda + j] = std::sqrt(sum);
    }
  return 0;
}

/* B [m, n] <- alpha B R^-1. */
void divide(int m, int n, float alpha, const float *r, int64_t ldr, float *b, int64_t ldb)
{
  for (int64_t j = 0; j < n; j++)
    for (int64_t i = 0; i < m; i++) {
      double sum = static_cast<double>(alpha * b[j * ldb + i]);
      for (int64_t l = 0; l < j; l++)
        sum -= static_cast<double>(b[l * ldb + i]) * static_cast<double>(r[j * ldr + l]);
      b[j * ldb + i] = static_cast<float>(sum / static_cast<double>(r[j * ldr + j]));
    }
}

}  // namespace

cublasStatus_t cublasDsyrk(cublasHandle_t handle, cublasFillMode_t fill, cublasOperation_t op, int n, int k,
                           const double *alpha, const double *a, int lda, const double *beta, double *c,
                           int ldc)
{
  if (fill != CUBLAS_FILL_MODE_UPPER || op != CUBLAS_OP_T) return CUBLAS_STATUS_INVALID_VALUE;
  if (lda < k || ldc < n) return CUBLAS_STATUS_INVALID_VALUE;
  double scale = *alpha, keep = *beta;
  cudaemu::queue(handle->stream, [=] {
    cudaemu::device_access access;
    update_upper(n, k, scale, a, lda, keep, c, ldc);
  });
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasStrsm(cublasHandle_t handle, cublasSideMode_t side, cublasFillMode_t fill,
                           cublasOperation_t op, cublasDiagType_t, int m, int n, const float *alpha,
                           const float *a, int lda, float *b, int ldb)
{
  bool known = side == CUBLAS_SIDE_RIGHT && fill == CUBLAS_FILL_MODE_UPPER && op == CUBLAS_OP_N;
  if (!known || lda < n || ldb < m) return CUBLAS_STATUS_INVALID_VALUE;
  float scale = *alpha;
  cudaemu::queue(handle->stream, [=] {
    cudaemu::device_access access;
    divide(m, n, scale, a, lda, b, ldb);
  });
  return CUBLAS_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnDpotrf_bufferSize(cusolverDnHandle_t, cublasFillMode_t, int, double *, int,
                                             int *doubles)
{
  *doubles = WORK_DOUBLES;
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnDpotrf(cusolverDnHandle_t handle, cublasFillMode_t fill, int n, double *a, int lda,
                                  double *work, int doubles, int *info)
{
  if (fill != CUBLAS_FILL_MODE_UPPER || lda < n || doubles < WORK_DOUBLES)
    return CUSOLVER_STATUS_INVALID_VALUE;
  cudaemu::queue(handle->stream, [=] {
    cudaemu::device_access access;
    memset(work, 0xff, static_cast<size_t>(doubles) * sizeof *work);
    *info = factorise(n, a, lda);
  });
  return CUSOLVER_STATUS_SUCCESS;
}
