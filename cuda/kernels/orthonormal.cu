/* What Cholesky QR needs besides cuBLAS and cuSOLVER (cuda/orthonormal.c). */
#include <float.h>

#include "cuda/kernels/common.cuh"

/* One block a row. */
__global__ void k_unit_rows(float *rows, int64_t d)
{
  __shared__ double parts[WARPS];
  float *row = rows + blockIdx.x * d;
  double sum = 0.0;
  for (int64_t j = threadIdx.x; j < d; j += THREADS)
    sum += static_cast<double>(row[j]) * static_cast<double>(row[j]);
  double norm = sqrt(block_sum(sum, parts));
  if (!(norm >= static_cast<double>(FLT_MIN) && norm <= static_cast<double>(FLT_MAX))) return;
  for (int64_t j = threadIdx.x; j < d; j += THREADS)
    row[j] = static_cast<float>(static_cast<double>(row[j]) / norm);
}

cudaError_t qg_k_unit_rows(cudaStream_t stream, float *rows, int64_t count, int64_t d)
{
  return launch(stream, count, THREADS, k_unit_rows, rows, d);
}

__global__ void k_widen_rows(const float *rows, int64_t count, int64_t d, int64_t first, int64_t width,
                             double *out)
{
  int64_t e = blockIdx.x * static_cast<int64_t>(THREADS) + threadIdx.x;
  if (e < count * width) out[e] = static_cast<double>(rows[e / width * d + first + e % width]);
}

cudaError_t qg_k_widen_rows(cudaStream_t stream, const float *rows, int64_t count, int64_t d, int64_t first,
                            int64_t width, double *out)
{
  int64_t blocks = (count * width + THREADS - 1) / THREADS;
  return launch(stream, blocks, THREADS, k_widen_rows, rows, count, d, first, width, out);
}

__global__ void k_narrow(const double *x, int64_t count, float *out)
{
  int64_t e = blockIdx.x * static_cast<int64_t>(THREADS) + threadIdx.x;
  if (e < count) out[e] = static_cast<float>(x[e]);
}

/* One block. What is not positive counts as 0, as does NaN: its row depends on the others. */
__global__ void k_least_of_diagonal(const float *matrix, int64_t order, float *least)
{
  __shared__ int32_t parts[WARPS];
  float most = -1.0f; /* of the negative ones; rows of norm 1 have no larger element */
  for (int64_t i = threadIdx.x; i < order; i += THREADS) {
    float x = matrix[i * order + i];
    most = fmaxf(most, x > 0.0f ? -x : 0.0f);
  }
  most = block_max(most, parts);
  if (threadIdx.x == 0) *least = -most;
}

cudaError_t qg_k_narrow_factor(cudaStream_t stream, const double *gram, int64_t count, float *factor,
                               float *least)
{
  int64_t elements = count * count;
  cudaError_t error =
      launch(stream, (elements + THREADS - 1) / THREADS, THREADS, k_narrow, gram, elements, factor);
  if (error != cudaSuccess) return error;
  return launch(stream, 1, THREADS, k_least_of_diagonal, factor, count, least);
}
