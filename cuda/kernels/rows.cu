/* RMSNorm, rotary embedding and SwiGLU. */
#include "cuda/kernels/common.cuh"

/* One block a row; every thread comes back to the elements that it wrote itself. */
template <typename T>
__global__ void k_rmsnorm(qg_rmsnorm_args a)
{
  __shared__ float parts[WARPS];
  const T *x = row_of<T>(a.x, blockIdx.x), *add = row_of<T>(a.add, blockIdx.x),
          *weight = row_of<T>(a.weight, 0);
  T *sum = row_of<T>(a.sum, blockIdx.x), *y = row_of<T>(a.y, blockIdx.x);
  bool adds = a.add.data != nullptr;
  float squares = 0.0f;
  for (int64_t j = threadIdx.x; j < a.x.cols; j += THREADS) {
    if (adds) put(&sum[j], value(x[j]) + value(add[j]));
    float v = value(adds ? sum[j] : x[j]);
    squares += v * v;
  }
  float rstd = 1.0f / sqrtf(block_sum(squares, parts) / static_cast<float>(a.x.cols) + a.eps);
  if (a.rstd && threadIdx.x == 0) a.rstd[blockIdx.x] = rstd;
  for (int64_t j = threadIdx.x; j < a.x.cols; j += THREADS)
    put(&y[j], value(adds ? sum[j] : x[j]) * rstd * value(weight[j]));
}

cudaError_t qg_k_rmsnorm(cudaStream_t stream, const qg_rmsnorm_args *a)
{
  auto kernel = a->x.type == QG_BF16 ? k_rmsnorm<bf16> : k_rmsnorm<float>;
  return launch(stream, a->x.rows, THREADS, kernel, *a);
}

/* partial[b, j] = sum over the rows i of block b of dy x rstd, ascending. A block works on THREADS columns.
 */
template <typename T>
__global__ void k_norm_weight_parts(qg_rmsnorm_backward_args a, float *partial)
{
  int64_t strips = (a.x.cols + THREADS - 1) / THREADS;
  int64_t b = blockIdx.x / strips, j = blockIdx.x % strips * THREADS + threadIdx.x;
  int64_t first = b * QG_CUDA_NORM_ROWS, last = first + QG_CUDA_NORM_ROWS;
  if (j >= a.x.cols) return;
  float sum = 0.0f;
  for (int64_t i = first; i < last && i < a.x.rows; i++)
    sum += value(row_of<T>(a.dy, i)[j]) * value(row_of<T>(a.x, i)[j]) * a.rstd[i];
  partial[b * a.x.cols + j] = sum;
}

__global__ void k_norm_weight(const float *partial, int64_t blocks, int64_t cols, float *dweight)
{
  int64_t j = blockIdx.x * static_cast<int64_t>(THREADS) + threadIdx.x;
  if (j >= cols) return;
  float sum = 0.0f;
  for (int64_t b = 0; b < blocks; b++) sum += partial[b * cols + j];
  dweight[j] += sum;
}

template <typename T>
__global__ void k_norm_input(qg_rmsnorm_backward_args a)
{
  __shared__ float parts[WARPS];
  const T *x = row_of<T>(a.x, blockIdx.x), *dy = row_of<T>(a.dy, blockIdx.x),
          *weight = row_of<T>(a.weight, 0);
  T *dx = row_of<T>(a.dx, blockIdx.x);
  float dot = 0.0f, rstd = a.rstd[blockIdx.x];
  for (int64_t j = threadIdx.x; j < a.x.cols; j += THREADS)
    dot += value(dy[j]) * value(weight[j]) * value(x[j]);
  float mean = rstd * rstd * rstd / static_cast<float>(a.x.cols) * block_sum(dot, parts);
  for (int64_t j = threadIdx.x; j < a.x.cols; j += THREADS) {
    float d = value(dy[j]) * value(weight[j]) * rstd - value(x[j]) * mean;
    put(&dx[j], a.accumulate ? value(dx[j]) + d : d);
  }
}

/* The weight's gradient first: dx may lie on dy. */
cudaError_t qg_k_rmsnorm_backward(cudaStream_t stream, const qg_rmsnorm_backward_args *a, float *partial)
{
  bool half = a->x.type == QG_BF16;
  int64_t blocks = (a->x.rows + QG_CUDA_NORM_ROWS - 1) / QG_CUDA_NORM_ROWS;
  int64_t strips = (a->x.cols + THREADS - 1) / THREADS;
  cudaError_t error = launch(stream, blocks * strips, THREADS,
                             half ? k_norm_weight_parts<bf16> : k_norm_weight_parts<float>, *a, partial);
  if (error == cudaSuccess)
    error = launch(stream, strips, THREADS, k_norm_weight, partial, blocks, a->x.cols, a->dweight);
  if (error != cudaSuccess) return error;
  return launch(stream, a->x.rows, THREADS, half ? k_norm_input<bf16> : k_norm_input<float>, *a);
}

/* A thread rotates pairs of one token. */
template <typename T>
__global__ void k_rope(qg_rope_args a)
{
  int64_t half = a.head_dim / 2, position = blockIdx.x % a.sequence_length;
  T *x = row_of<T>(a.x, blockIdx.x);
  for (int64_t p = threadIdx.x; p < a.heads * half; p += THREADS) {
    int64_t j = p % half;
    T *low = x + p / half * a.head_dim + j, *high = low + half;
    float c = a.cos[position * half + j], s = a.sin[position * half + j];
    float u = value(*low), v = value(*high);
    if (a.inverse) s = -s;
    put(low, u * c - v * s);
    put(high, v * c + u * s);
  }
}

cudaError_t qg_k_rope(cudaStream_t stream, const qg_rope_args *a)
{
  auto kernel = a->x.type == QG_BF16 ? k_rope<bf16> : k_rope<float>;
  return launch(stream, a->x.rows, THREADS, kernel, *a);
}

/* exp overflows to infinity for very negative x, and the quotient is the limit, 0. */
__device__ static inline float sigmoid(float x)
{
  return 1.0f / (1.0f + expf(-x));
}

template <typename T>
__global__ void k_swiglu(qg_swiglu_args a)
{
  for_each_element(a.gate.cols, [&](int64_t i, int64_t j) {
    float g = value(row_of<T>(a.gate, i)[j]);
    put(row_of<T>(a.out, i) + j, g * sigmoid(g) * value(row_of<T>(a.up, i)[j]));
  });
}

/* silu'(g) = s (1 + g (1 - s)) with s = sigmoid(g). An element is read before any alias of it is written. */
template <typename T>
__global__ void k_swiglu_backward(qg_swiglu_args a)
{
  for_each_element(a.gate.cols, [&](int64_t i, int64_t j) {
    float g = value(row_of<T>(a.gate, i)[j]), u = value(row_of<T>(a.up, i)[j]);
    float d = value(row_of<T>(a.d_out, i)[j]), s = sigmoid(g);
    put(row_of<T>(a.d_gate, i) + j, d * u * s * (1.0f + g * (1.0f - s)));
    put(row_of<T>(a.d_up, i) + j, d * g * s);
    if (a.out.data) put(row_of<T>(a.out, i) + j, g * s * u);
  });
}

cudaError_t qg_k_swiglu(cudaStream_t stream, const qg_swiglu_args *a)
{
  auto kernel = a->gate.type == QG_BF16 ? k_swiglu<bf16> : k_swiglu<float>;
  return launch(stream, chunks_of(a->gate.rows, a->gate.cols), THREADS, kernel, *a);
}

cudaError_t qg_k_swiglu_backward(cudaStream_t stream, const qg_swiglu_args *a)
{
  auto kernel = a->gate.type == QG_BF16 ? k_swiglu_backward<bf16> : k_swiglu_backward<float>;
  return launch(stream, chunks_of(a->gate.rows, a->gate.cols), THREADS, kernel, *a);
}
