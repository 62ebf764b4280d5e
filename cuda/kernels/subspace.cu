/* Bases between the projector's layout and the rows that products work on: a basis under work is [k, d], one
 * vector a row (linalg/projection_problem.h). */
#include "cuda/kernels/common.cuh"

/* Element j of vector i of a basis in the projector's layout: right P [k, d], left P [d, k]. */
__device__ static inline int64_t place_of(bool left, int64_t k, int64_t d, int64_t i, int64_t j)
{
  return left ? j * k + i : i * d + j;
}

__global__ void k_load_basis(const float *basis, bool left, int64_t k, int64_t d, float *rows)
{
  int64_t e = blockIdx.x * static_cast<int64_t>(THREADS) + threadIdx.x;
  if (e < k * d) rows[e] = basis[place_of(left, k, d, e / d, e % d)];
}

cudaError_t qg_k_load_basis(cudaStream_t stream, const float *basis, bool left, int64_t k, int64_t d,
                            float *rows)
{
  return launch(stream, (k * d + THREADS - 1) / THREADS, THREADS, k_load_basis, basis, left, k, d, rows);
}

/* Uniform in (-w, w) with the variance 1 / d: rows of norm 1 on average. A thread fills the four elements
 * that share a block of random words. */
__global__ void k_random_rows(uint64_t seed, int64_t count, int64_t d, float *out)
{
  int64_t quad = blockIdx.x * static_cast<int64_t>(THREADS) + threadIdx.x;
  qg_rng rng = {seed, 0, 0, QG_RNG_SUBSPACE};
  qg_rng_block words = qg_rng_draw(rng, static_cast<uint64_t>(quad));
  float width = sqrtf(3.0f / static_cast<float>(d));
#pragma unroll
  for (int k = 0; k < 4; k++)
    if (4 * quad + k < count) out[4 * quad + k] = width * (2.0f * qg_rng_unit(words.v[k]) - 1.0f);
}

cudaError_t qg_k_random_rows(cudaStream_t stream, uint64_t seed, int64_t rows, int64_t d, float *out)
{
  int64_t quads = (rows * d + 3) / 4;
  return launch(stream, (quads + THREADS - 1) / THREADS, THREADS, k_random_rows, seed, rows * d, d, out);
}

/* Vector i of the basis = row i, in the opposite order among the last `ascending`, with the sign that makes
 * its largest component positive; of equal ones the first counts. One block a vector. */
__global__ void k_store_basis(const float *rows, int64_t ascending, bool left, int64_t k, int64_t d,
                              float *basis)
{
  __shared__ int32_t parts[WARPS];
  int64_t i = blockIdx.x;
  const float *row = rows + (i < k - ascending ? i : 2 * k - ascending - 1 - i) * d;
  int32_t most = 0, first = INT32_MAX;
  for (int64_t j = threadIdx.x; j < d; j += THREADS) {
    int32_t key = qg_float_key(fabsf(row[j]));
    most = key > most ? key : most;
  }
  most = block_max(most, parts);
  for (int64_t j = threadIdx.x; j < d; j += THREADS)
    if (qg_float_key(fabsf(row[j])) == most && j < first) first = static_cast<int32_t>(j);
  first = -block_max(-first, parts);
  float sign = row[first] < 0.0f ? -1.0f : 1.0f;
  for (int64_t j = threadIdx.x; j < d; j += THREADS) basis[place_of(left, k, d, i, j)] = sign * row[j];
}

cudaError_t qg_k_store_basis(cudaStream_t stream, const float *rows, int64_t ascending, bool left, int64_t k,
                             int64_t d, float *basis)
{
  return launch(stream, k, THREADS, k_store_basis, rows, ascending, left, k, d, basis);
}

__global__ void k_split(const float *x, int64_t count, uint16_t *high, uint16_t *low)
{
  int64_t j = blockIdx.x * static_cast<int64_t>(THREADS) + threadIdx.x;
  if (j >= count) return;
  high[j] = qg_bf16_from_float(x[j]);
  low[j] = qg_bf16_from_float(x[j] - qg_bf16_to_float(high[j]));
}

cudaError_t qg_k_split(cudaStream_t stream, const float *x, int64_t count, uint16_t *high, uint16_t *low)
{
  return launch(stream, (count + THREADS - 1) / THREADS, THREADS, k_split, x, count, high, low);
}

__global__ void k_square(const float *x, int64_t count, float *out)
{
  int64_t j = blockIdx.x * static_cast<int64_t>(THREADS) + threadIdx.x;
  if (j < count) out[j] = x[j] * x[j];
}

cudaError_t qg_k_square(cudaStream_t stream, const float *x, int64_t count, float *out)
{
  return launch(stream, (count + THREADS - 1) / THREADS, THREADS, k_square, x, count, out);
}
