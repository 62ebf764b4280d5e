/* Softmax cross-entropy of rows of logits. */
#include "cuda/kernels/vectorized.cuh"

/* So many that one row is in flight on a multiprocessor: all of them stay in the cache between the two
 * passes. */
enum { LOSS_THREADS = 1024, LOSS_WARPS = LOSS_THREADS / WARP };

/* Of the logits so far: sum of exp(x - max). */
struct exponentials {
  float max, sum;
};

/* What exp is shifted by: a row that begins with -infinity must not become NaN. */
__device__ static inline float shift_of(float max)
{
  return max == -INFINITY ? 0.0f : max;
}

__device__ static inline void add_part(exponentials *e, const float *x, int count)
{
  float max = e->max;
#pragma unroll
  for (int k = 0; k < PART; k++)
    if (k < count) max = fmaxf(max, x[k]);
  float shift = shift_of(max);
  e->sum *= expf(e->max - shift);
  e->max = max;
#pragma unroll
  for (int k = 0; k < PART; k++)
    if (k < count) e->sum += expf(x[k] - shift);
}

/* Over the block. A NaN is in the sum wherever it was; a thread without logits has a factor of 0. */
__device__ static inline exponentials combine(exponentials mine, int32_t *keys, float *parts)
{
  float max = block_max<LOSS_WARPS>(mine.max, keys);
  return exponentials{max, block_sum<LOSS_WARPS>(mine.sum * expf(mine.max - shift_of(max)), parts)};
}

template <typename T>
__device__ static void write_gradient(const float *x, T *d, int64_t vocab, int32_t target, exponentials e,
                                      float scale)
{
  float factor = scale / e.sum, shift = shift_of(e.max);
  for_parts_of_row<LOSS_THREADS>(vocab, [&](int64_t j, int count) {
    alignas(WIDE) float p[PART];
    load_part(x + j, count, p);
#pragma unroll
    for (int k = 0; k < PART; k++) {
      float share = expf(p[k] - shift);
      p[k] = j + k == target ? (share / e.sum - 1.0f) * scale : share * factor;
    }
    store_part(d + j, count, static_cast<const float *>(p));
  });
}

template <typename T>
__device__ static void clear_gradient(T *d, int64_t vocab)
{
  for_parts_of_row<LOSS_THREADS>(vocab, [&](int64_t j, int count) {
    alignas(WIDE) const float none[PART] = {};
    store_part(d + j, count, none);
  });
}

/* One block a row. The gradient may lie on the logits: a thread writes what it alone still reads, and the
 * target's logit is read before the last barrier of the sum. */
template <typename T>
__global__ void __launch_bounds__(LOSS_THREADS) k_cross_entropy(qg_cross_entropy_args a, double *row_loss)
{
  __shared__ int32_t keys[LOSS_WARPS];
  __shared__ float parts[LOSS_WARPS];
  const float *x = row_of<float>(a.logits, blockIdx.x);
  T *d = a.d_logits.data ? row_of<T>(a.d_logits, blockIdx.x) : nullptr;
  int64_t vocab = a.logits.cols;
  int32_t target = a.targets[blockIdx.x];
  if (target < 0) {
    if (d) clear_gradient(d, vocab);
    if (threadIdx.x == 0) row_loss[blockIdx.x] = 0.0;
    return;
  }
  exponentials e = {-INFINITY, 0.0f};
  float at_target = x[target];
  for_parts_of_row<LOSS_THREADS>(vocab, [&](int64_t j, int count) {
    alignas(WIDE) float part[PART];
    load_part(x + j, count, part);
    add_part(&e, part, count);
  });
  e = combine(e, keys, parts);
  if (threadIdx.x == 0)
    row_loss[blockIdx.x] = log(static_cast<double>(e.sum)) + static_cast<double>(shift_of(e.max)) -
                           static_cast<double>(at_target);
  if (d) write_gradient(x, d, vocab, target, e, a.grad_scale);
}

__global__ void k_add_losses(const double *row_loss, int64_t rows, double *loss)
{
  __shared__ double parts[WARPS];
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < rows; i += THREADS) sum += row_loss[i];
  sum = block_sum(sum, parts);
  if (threadIdx.x == 0) *loss += sum;
}

cudaError_t qg_k_cross_entropy(cudaStream_t stream, const qg_cross_entropy_args *a, double *row_loss)
{
  auto kernel = a->d_logits.type == QG_BF16 ? k_cross_entropy<bf16> : k_cross_entropy<float>;
  cudaError_t error = launch(stream, a->logits.rows, LOSS_THREADS, kernel, *a, row_loss);
  if (error != cudaSuccess) return error;
  return launch(stream, 1, THREADS, k_add_losses, row_loss, a->logits.rows, a->loss);
}
