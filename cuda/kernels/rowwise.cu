/* RMSNorm, rotary embedding and SwiGLU. */
#include "cuda/kernels/shared.cuh"
#include "cuda/kernels/vectorized.cuh"

/* x, or the sum that takes its place as it is stored. Both terms are on their way before either is looked at.
 */
template <typename T>
__device__ static inline void load_input(const qg_rmsnorm_args &a, int64_t j, int count, float *x)
{
  alignas(WIDE) float add[PART];
  alignas(WIDE) T sum[PART];
  const qg_view &second = a.add.data ? a.add : a.x;
  load_part(row_of<const T>(a.x, blockIdx.x) + j, count, x);
  load_part(row_of<const T>(second, blockIdx.x) + j, a.add.data ? count : 0, add);
  if (!a.add.data) return;
#pragma unroll
  for (int k = 0; k < PART; k++) x[k] += add[k];
  round_part(x, sum);
  store_part(row_of<T>(a.sum, blockIdx.x) + j, count, static_cast<const T *>(sum));
#pragma unroll
  for (int k = 0; k < PART; k++) x[k] = value(sum[k]);
}

/* One block a row; every thread comes back to the elements that it wrote itself. */
template <typename T>
__global__ void k_rmsnorm(qg_rmsnorm_args a)
{
  __shared__ float parts[WARPS];
  const T *x = row_of<T>(a.add.data ? a.sum : a.x, blockIdx.x), *weight = row_of<T>(a.weight, 0);
  T *y = row_of<T>(a.y, blockIdx.x);
  float squares = 0.0f;
  for_parts_of_row(a.x.cols, [&](int64_t j, int count) {
    alignas(WIDE) float v[PART];
    load_input<T>(a, j, count, v);
#pragma unroll
    for (int k = 0; k < PART; k++) squares += v[k] * v[k];
  });
  float rstd = 1.0f / sqrtf(block_sum(squares, parts) / static_cast<float>(a.x.cols) + a.eps);
  if (a.rstd && threadIdx.x == 0) a.rstd[blockIdx.x] = rstd;
  for_parts_of_row(a.x.cols, [&](int64_t j, int count) {
    alignas(WIDE) float v[PART], w[PART];
    load_part(x + j, count, v);
    load_part(weight + j, count, w);
#pragma unroll
    for (int k = 0; k < PART; k++) v[k] = v[k] * rstd * w[k];
    store_part(y + j, count, static_cast<const float *>(v));
  });
}

cudaError_t qg_k_rmsnorm(cudaStream_t stream, const qg_rmsnorm_args *a)
{
  auto kernel = a->x.type == QG_BF16 ? k_rmsnorm<bf16> : k_rmsnorm<float>;
  return launch(stream, a->x.rows, THREADS, kernel, *a);
}

/* sum_j dy weight x of one row, for every thread. */
template <typename T>
__device__ static inline float dot_of_row(const qg_rmsnorm_backward_args &a, int64_t i, float *parts)
{
  float dot = 0.0f;
  for_parts_of_row(a.x.cols, [&](int64_t j, int count) {
    alignas(WIDE) float x[PART], dy[PART], w[PART];
    load_part(row_of<const T>(a.x, i) + j, count, x);
    load_part(row_of<const T>(a.dy, i) + j, count, dy);
    load_part(row_of<const T>(a.weight, 0) + j, count, w);
#pragma unroll
    for (int k = 0; k < PART; k++) dot += dy[k] * w[k] * x[k];
  });
  return block_sum(dot, parts);
}

/* dx of one row, and sums[j] += dy x rstd; `sums` has whole parts of shared memory. */
template <typename T>
__device__ static inline void norm_row(const qg_rmsnorm_backward_args &a, int64_t i, float dot, float *sums)
{
  float rstd = a.rstd[i], mean = rstd * rstd * rstd / static_cast<float>(a.x.cols) * dot;
  T *dx = row_of<T>(a.dx, i);
  for_parts_of_row(a.x.cols, [&](int64_t j, int count) {
    alignas(WIDE) float x[PART], dy[PART], w[PART], d[PART], sum[PART];
    load_part(row_of<const T>(a.x, i) + j, count, x);
    load_part(row_of<const T>(a.dy, i) + j, count, dy);
    load_part(row_of<const T>(a.weight, 0) + j, count, w);
    load_part(static_cast<const T *>(dx) + j, a.accumulate ? count : 0, d);
    copy_part(sum, sums + j);
#pragma unroll
    for (int k = 0; k < PART; k++) {
      float more = dy[k] * w[k] * rstd - x[k] * mean;
      d[k] = a.accumulate ? d[k] + more : more;
      sum[k] += dy[k] * x[k] * rstd;
    }
    store_part(dx + j, count, static_cast<const float *>(d));
    copy_part(sums + j, sum);
  });
}

/* One block QG_CUDA_NORM_ROWS rows, each read once from memory: dx, and in partial [block, cols] the sums of
 * dy x rstd over them, ascending. A thread keeps to its columns, so that dx may lie on dy. */
template <typename T>
__global__ void k_rmsnorm_backward(qg_rmsnorm_backward_args a, float *partial)
{
  __shared__ float parts[WARPS];
  float *sums = reinterpret_cast<float *>(shared_memory());
  int64_t first = static_cast<int64_t>(blockIdx.x) * QG_CUDA_NORM_ROWS, last = first + QG_CUDA_NORM_ROWS;
  for_parts_of_row(a.x.cols, [&](int64_t j, int) {
    alignas(WIDE) const float none[PART] = {};
    copy_part(sums + j, none);
  });
  for (int64_t i = first; i < last && i < a.x.rows; i++) norm_row<T>(a, i, dot_of_row<T>(a, i, parts), sums);
  for_parts_of_row(a.x.cols, [&](int64_t j, int count) {
    alignas(WIDE) float sum[PART];
    copy_part(sum, sums + j);
    store_part(partial + blockIdx.x * a.x.cols + j, count, static_cast<const float *>(sum));
  });
}

/* dweight += the sum over blocks, 32 columns a block: each warp adds every WARPS-th, then their sums are
 * added in order. */
__global__ void k_norm_weight(const float *partial, int64_t blocks, int64_t cols, float *dweight)
{
  __shared__ float sums[WARPS][WARP];
  int64_t j = static_cast<int64_t>(blockIdx.x) * WARP + threadIdx.x % WARP;
  float sum = 0.0f;
  for (int64_t b = threadIdx.x / WARP; j < cols && b < blocks; b += WARPS) sum += partial[b * cols + j];
  sums[threadIdx.x / WARP][threadIdx.x % WARP] = sum;
  __syncthreads();
  if (threadIdx.x >= WARP || j >= cols) return;
  sum = 0.0f;
  for (int w = 0; w < WARPS; w++) sum += sums[w][threadIdx.x];
  dweight[j] += sum;
}

cudaError_t qg_k_rmsnorm_backward(cudaStream_t stream, const qg_rmsnorm_backward_args *a, float *partial)
{
  int64_t blocks = (a->x.rows + QG_CUDA_NORM_ROWS - 1) / QG_CUDA_NORM_ROWS;
  auto kernel = a->x.type == QG_BF16 ? k_rmsnorm_backward<bf16> : k_rmsnorm_backward<float>;
  int64_t shared = parts_of(a->x.cols) * PART * static_cast<int64_t>(sizeof(float));
  if (shared > INT32_MAX) return cudaErrorInvalidValue;
  cudaError_t error = launch_shared(stream, blocks, THREADS, static_cast<int>(shared), kernel, *a, partial);
  if (error != cudaSuccess || !a->dweight) return error;
  return launch(stream, (a->x.cols + WARP - 1) / WARP, THREADS, k_norm_weight, partial, blocks, a->x.cols,
                a->dweight);
}

/* A thread rotates a part of the first half of a head with that of the second. */
template <typename T>
__global__ void k_rope(qg_rope_args a)
{
  int64_t half = a.head_dim / 2;
  for_part(a.x.rows * a.heads, half, [&](int64_t row, int64_t j, int count) {
    alignas(WIDE) float u[PART], v[PART], c[PART], s[PART];
    int64_t token = row / a.heads, head = row % a.heads;
    int64_t angle = head * a.head_stride + (a.position + token % a.sequence_length) * half + j;
    T *low = row_of<T>(a.x, token) + head * a.head_dim + j, *high = low + half;
    load_part(static_cast<const T *>(low), count, u);
    load_part(static_cast<const T *>(high), count, v);
    load_part(a.cos + angle, count, c);
    load_part(a.sin + angle, count, s);
#pragma unroll
    for (int k = 0; k < PART; k++) {
      float x = u[k], y = a.inverse ? -s[k] : s[k];
      u[k] = x * c[k] - v[k] * y;
      v[k] = v[k] * c[k] + x * y;
    }
    store_part(low, count, static_cast<const float *>(u));
    store_part(high, count, static_cast<const float *>(v));
  });
}

cudaError_t qg_k_rope(cudaStream_t stream, const qg_rope_args *a)
{
  auto kernel = a->x.type == QG_BF16 ? k_rope<bf16> : k_rope<float>;
  return launch(stream, blocks_of_parts(a->x.rows * a->heads, a->head_dim / 2), THREADS, kernel, *a);
}

/* exp overflows to infinity for very negative x, and the quotient is the limit, 0. */
__device__ static inline float sigmoid(float x)
{
  return 1.0f / (1.0f + expf(-x));
}

template <typename T>
__global__ void k_swiglu(qg_swiglu_args a)
{
  for_part(a.gate.rows, a.gate.cols, [&](int64_t i, int64_t j, int count) {
    alignas(WIDE) float g[PART], u[PART];
    load_part(row_of<const T>(a.gate, i) + j, count, g);
    load_part(row_of<const T>(a.up, i) + j, count, u);
#pragma unroll
    for (int k = 0; k < PART; k++) u[k] = g[k] * sigmoid(g[k]) * u[k];
    store_part(row_of<T>(a.out, i) + j, count, static_cast<const float *>(u));
  });
}

/* silu'(g) = s (1 + g (1 - s)) with s = sigmoid(g). An element is read before any alias of it is written. */
template <typename T>
__global__ void k_swiglu_backward(qg_swiglu_args a)
{
  for_part(a.gate.rows, a.gate.cols, [&](int64_t i, int64_t j, int count) {
    alignas(WIDE) float g[PART], u[PART], d[PART];
    load_part(row_of<const T>(a.gate, i) + j, count, g);
    load_part(row_of<const T>(a.up, i) + j, count, u);
    load_part(row_of<const T>(a.d_out, i) + j, count, d);
#pragma unroll
    for (int k = 0; k < PART; k++) {
      float s = sigmoid(g[k]), d_gate = d[k] * u[k] * s * (1.0f + g[k] * (1.0f - s));
      d[k] = d[k] * g[k] * s;
      u[k] = g[k] * s * u[k];
      g[k] = d_gate;
    }
    store_part(row_of<T>(a.d_gate, i) + j, count, static_cast<const float *>(g));
    store_part(row_of<T>(a.d_up, i) + j, count, static_cast<const float *>(d));
    if (a.out.data) store_part(row_of<T>(a.out, i) + j, count, static_cast<const float *>(u));
  });
}

cudaError_t qg_k_swiglu(cudaStream_t stream, const qg_swiglu_args *a)
{
  auto kernel = a->gate.type == QG_BF16 ? k_swiglu<bf16> : k_swiglu<float>;
  return launch(stream, blocks_of_parts(a->gate.rows, a->gate.cols), THREADS, kernel, *a);
}

cudaError_t qg_k_swiglu_backward(cudaStream_t stream, const qg_swiglu_args *a)
{
  auto kernel = a->gate.type == QG_BF16 ? k_swiglu_backward<bf16> : k_swiglu_backward<float>;
  return launch(stream, blocks_of_parts(a->gate.rows, a->gate.cols), THREADS, kernel, *a);
}
