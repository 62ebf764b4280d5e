/* Bases between the projector's layout and the rows that products work on: a basis under work is [k, d], one
 * vector a row (linalg/problem.h). */
#include "cuda/kernels/common.cuh"

/* Element j of vector i of a basis in the projector's layout: right P [k, d], left P [d, k]. */
__device__ static inline int64_t place_of(bool left, int64_t k, int64_t d, int64_t i, int64_t j)
{
  return left ? j * k + i : i * d + j;
}

__global__ void k_load_basis(const float *basis, bool left, int64_t k, int64_t d, float *rows)
{
  for_each_element(d, [&](int64_t i, int64_t j) { rows[i * d + j] = basis[place_of(left, k, d, i, j)]; });
}

cudaError_t qg_k_load_basis(cudaStream_t stream, const float *basis, bool left, int64_t k, int64_t d,
                            float *rows)
{
  return launch(stream, chunks_of(k, d), THREADS, k_load_basis, basis, left, k, d, rows);
}

/* Uniform in (-w, w) with the variance 1 / d: rows of norm 1 on average. */
__global__ void k_random_rows(uint64_t seed, int64_t rows, int64_t d, float *out)
{
  qg_rng rng = {seed, 0, 0, QG_RNG_SUBSPACE};
  float width = sqrtf(3.0f / static_cast<float>(d));
  for_each_element(rows * d, [&](int64_t, int64_t j) {
    out[j] = width * (2.0f * qg_rng_unit_at(rng, static_cast<uint64_t>(j)) - 1.0f);
  });
}

cudaError_t qg_k_random_rows(cudaStream_t stream, uint64_t seed, int64_t rows, int64_t d, float *out)
{
  return launch(stream, chunks_of(1, rows * d), THREADS, k_random_rows, seed, rows, d, out);
}

/* Vector i of the basis = row k - 1 - i (they ascend), with the sign that makes its largest component
 * positive; of equal ones the first counts. One block a vector. */
__global__ void k_publish_basis(const float *rows, bool left, int64_t k, int64_t d, float *basis)
{
  __shared__ int32_t parts[WARPS];
  int64_t i = blockIdx.x;
  const float *row = rows + (k - 1 - i) * d;
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

cudaError_t qg_k_publish_basis(cudaStream_t stream, const float *rows, bool left, int64_t k, int64_t d,
                               float *basis)
{
  return launch(stream, k, THREADS, k_publish_basis, rows, left, k, d, basis);
}
