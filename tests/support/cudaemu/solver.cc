/* QR and eigenvectors in plain loops and double precision, for small matrices. The work arrays that were
 * asked for are written from end to end, so that one that is too small is found. */
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "arena.h"
#include "cusolverDn.h"
#include "handles.h"
#include "streams.h"

namespace {

enum { WORK_FLOATS = 1024, SWEEPS = 30 };

/* One rotation of Jacobi's method that makes a[p][q] zero; v collects the rotations as rows. */
void rotate(std::vector<double> &a, std::vector<double> &v, size_t n, size_t p, size_t q)
{
  double apq = a[p * n + q], negligible = 1e-17 * std::sqrt(std::fabs(a[p * n + p] * a[q * n + q]));
  if (std::fabs(apq) <= negligible) return;
  double theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
  double t = (theta >= 0.0 ? 1.0 : -1.0) / (std::fabs(theta) + std::sqrt(theta * theta + 1.0));
  double c = 1.0 / std::sqrt(t * t + 1.0), s = t * c;
  for (size_t k = 0; k < n; k++) {
    double x = a[k * n + p], y = a[k * n + q];
    a[k * n + p] = c * x - s * y;
    a[k * n + q] = s * x + c * y;
  }
  for (size_t k = 0; k < n; k++) {
    double x = a[p * n + k], y = a[q * n + k];
    a[p * n + k] = c * x - s * y;
    a[q * n + k] = s * x + c * y;
    x = v[p * n + k];
    y = v[q * n + k];
    v[p * n + k] = c * x - s * y;
    v[q * n + k] = s * x + c * y;
  }
}

std::vector<double> diagonalise(std::vector<double> &a, size_t n)
{
  std::vector<double> v(n * n, 0.0);
  for (size_t i = 0; i < n; i++) v[i * n + i] = 1.0;
  for (int sweep = 0; sweep < SWEEPS; sweep++)
    for (size_t p = 0; p < n; p++)
      for (size_t q = p + 1; q < n; q++) rotate(a, v, n, p, q);
  return v;
}

/* The eigenvectors take the place of the matrix, as rows; ascending. */
void solve(float *matrix, float *values, size_t order)
{
  std::vector<double> dense(matrix, matrix + order * order);
  std::vector<double> vectors = diagonalise(dense, order);
  std::vector<size_t> ascending(order);
  std::iota(ascending.begin(), ascending.end(), size_t(0));
  std::sort(ascending.begin(), ascending.end(),
            [&](size_t i, size_t j) { return dense[i * order + i] < dense[j * order + j]; });
  for (size_t i = 0; i < order; i++) {
    values[i] = static_cast<float>(dense[ascending[i] * order + ascending[i]]);
    for (size_t k = 0; k < order; k++)
      matrix[i * order + k] = static_cast<float>(vectors[ascending[i] * order + k]);
  }
}

double dot(const float *x, const float *y, int n)
{
  double sum = 0.0;
  for (int i = 0; i < n; i++) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return sum;
}

/* Gram and Schmidt, twice over. */
void orthonormalise(float *a, int m, int n, int lda)
{
  for (int j = 0; j < n; j++) {
    float *column = a + static_cast<int64_t>(j) * lda;
    for (int pass = 0; pass < 2; pass++)
      for (int k = 0; k < j; k++) {
        const float *other = a + static_cast<int64_t>(k) * lda;
        double part = dot(column, other, m);
        for (int i = 0; i < m; i++) column[i] = static_cast<float>(column[i] - part * other[i]);
      }
    double norm = std::sqrt(dot(column, column, m));
    for (int i = 0; i < m; i++) column[i] = static_cast<float>(column[i] / norm);
  }
}

}  // namespace

cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t *handle)
{
  *handle = new cusolverDnContext{nullptr};
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle)
{
  delete handle;
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t *params)
{
  *params = nullptr;
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t)
{
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream)
{
  handle->stream = stream;
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t, cusolverDnParams_t, cusolverEigMode_t,
                                             cublasFillMode_t, int64_t, cudaDataType, const void *a, int64_t,
                                             cudaDataType, const void *w, cudaDataType, size_t *device_bytes,
                                             size_t *host_bytes)
{
  if (!a || !w) return CUSOLVER_STATUS_INVALID_VALUE;
  *device_bytes = WORK_FLOATS * sizeof(float);
  *host_bytes = WORK_FLOATS;
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t, cusolverEigMode_t,
                                  cublasFillMode_t, int64_t n, cudaDataType, void *a, int64_t lda,
                                  cudaDataType, void *w, cudaDataType, void *device_work, size_t device_bytes,
                                  void *host_work, size_t host_bytes, int *info)
{
  if (lda != n) return CUSOLVER_STATUS_INVALID_VALUE;
  cudaemu::queue(handle->stream, [=] {
    cudaemu::device_access access;
    memset(device_work, 0xff, device_bytes);
    memset(host_work, 0xff, host_bytes);
    solve(static_cast<float *>(a), static_cast<float *>(w), static_cast<size_t>(n));
    *info = 0;
  });
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnSgeqrf_bufferSize(cusolverDnHandle_t, int, int, float *a, int, int *floats)
{
  if (!a) return CUSOLVER_STATUS_INVALID_VALUE;
  *floats = WORK_FLOATS;
  return CUSOLVER_STATUS_SUCCESS;
}

/* Leaves the work to cusolverDnSorgqr: nobody reads R. */
cusolverStatus_t cusolverDnSgeqrf(cusolverDnHandle_t handle, int, int n, float *, int, float *tau,
                                  float *work, int floats, int *info)
{
  cudaemu::queue(handle->stream, [=] {
    cudaemu::device_access access;
    memset(tau, 0xff, static_cast<size_t>(n) * sizeof *tau);
    memset(work, 0xff, static_cast<size_t>(floats) * sizeof *work);
    *info = 0;
  });
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnSorgqr_bufferSize(cusolverDnHandle_t, int, int, int, const float *, int,
                                             const float *, int *floats)
{
  *floats = 2 * WORK_FLOATS;
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnSorgqr(cusolverDnHandle_t handle, int m, int n, int k, float *a, int lda,
                                  const float *, float *work, int floats, int *info)
{
  if (k != n) return CUSOLVER_STATUS_INVALID_VALUE;
  cudaemu::queue(handle->stream, [=] {
    cudaemu::device_access access;
    memset(work, 0xff, static_cast<size_t>(floats) * sizeof *work);
    orthonormalise(a, m, n, lda);
    *info = 0;
  });
  return CUSOLVER_STATUS_SUCCESS;
}

namespace {

struct column_pair {
  double xx, yy, xy;
};

column_pair products(const std::vector<double> &a, size_t m, size_t p, size_t q)
{
  column_pair sum = {0.0, 0.0, 0.0};
  for (size_t i = 0; i < m; i++) {
    double x = a[p * m + i], y = a[q * m + i];
    sum.xx += x * x;
    sum.yy += y * y;
    sum.xy += x * y;
  }
  return sum;
}

void turn(std::vector<double> &a, size_t m, size_t p, size_t q, double c, double s)
{
  for (size_t i = 0; i < m; i++) {
    double x = a[p * m + i], y = a[q * m + i];
    a[p * m + i] = c * x - s * y;
    a[q * m + i] = s * x + c * y;
  }
}

/* One-sided Jacobi (Hestenes 1958): columns of a [m, n] are turned until they are orthogonal, and v [n, n]
 * with them: a v = u s. No Gram matrix is ever formed, so this is another way than diagonalise. */
void orthogonalise(std::vector<double> &a, std::vector<double> &v, size_t m, size_t n)
{
  for (int sweep = 0; sweep < SWEEPS; sweep++)
    for (size_t p = 0; p < n; p++)
      for (size_t q = p + 1; q < n; q++) {
        column_pair sum = products(a, m, p, q);
        if (sum.xy == 0.0) continue;
        double theta = (sum.yy - sum.xx) / (2.0 * sum.xy);
        double t = (theta >= 0.0 ? 1.0 : -1.0) / (std::fabs(theta) + std::sqrt(theta * theta + 1.0));
        double c = 1.0 / std::sqrt(t * t + 1.0);
        turn(a, m, p, q, c, t * c);
        turn(v, n, p, q, c, t * c);
      }
}

/* Singular values, descending, and V^T of a column-major matrix, which is left in ruins. */
void decompose(float *matrix, float *values, float *vt, size_t m, size_t n)
{
  std::vector<double> a(matrix, matrix + m * n), v(n * n, 0.0), norms(n);
  for (size_t i = 0; i < n; i++) v[i * n + i] = 1.0;
  orthogonalise(a, v, m, n);
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t(0));
  for (size_t j = 0; j < n; j++) norms[j] = std::sqrt(products(a, m, j, j).xx);
  std::sort(order.begin(), order.end(), [&](size_t i, size_t j) { return norms[i] > norms[j]; });
  for (size_t i = 0; i < n; i++) {
    values[i] = static_cast<float>(norms[order[i]]);
    for (size_t j = 0; j < n; j++) vt[j * n + i] = static_cast<float>(v[order[i] * n + j]);
  }
  memset(matrix, 0xff, m * n * sizeof *matrix);
}

}  // namespace

cusolverStatus_t cusolverDnXgesvd_bufferSize(cusolverDnHandle_t, cusolverDnParams_t, signed char, signed char,
                                             int64_t m, int64_t n, cudaDataType, const void *a, int64_t,
                                             cudaDataType, const void *s, cudaDataType, const void *, int64_t,
                                             cudaDataType, const void *vt, int64_t, cudaDataType,
                                             size_t *device_bytes, size_t *host_bytes)
{
  if (m < n || !a || !s || !vt) return CUSOLVER_STATUS_INVALID_VALUE;
  *device_bytes = 3 * WORK_FLOATS * sizeof(float);
  *host_bytes = WORK_FLOATS;
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnXgesvd(cusolverDnHandle_t handle, cusolverDnParams_t, signed char jobu,
                                  signed char jobvt, int64_t m, int64_t n, cudaDataType, void *a, int64_t lda,
                                  cudaDataType, void *s, cudaDataType, void *, int64_t, cudaDataType,
                                  void *vt, int64_t ldvt, cudaDataType, void *device_work,
                                  size_t device_bytes, void *host_work, size_t host_bytes, int *info)
{
  bool known = jobu == 'N' && jobvt == 'S' && lda == m && ldvt == n;
  if (m < n || !known) return CUSOLVER_STATUS_INVALID_VALUE;
  cudaemu::queue(handle->stream, [=] {
    cudaemu::device_access access;
    memset(device_work, 0xff, device_bytes);
    memset(host_work, 0xff, host_bytes);
    decompose(static_cast<float *>(a), static_cast<float *>(s), static_cast<float *>(vt),
              static_cast<size_t>(m), static_cast<size_t>(n));
    *info = 0;
  });
  return CUSOLVER_STATUS_SUCCESS;
}
