/* Softmax cross-entropy of rows of logits. */
#include "cuda/kernels/common.cuh"

template <typename T>
__device__ static void write_gradient(const float *x, T *d, int64_t vocab, int32_t target, float max,
                                      float sum, float scale)
{
  float factor = scale / sum;
  for (int64_t j = threadIdx.x; j < vocab; j += THREADS) {
    float e = expf(x[j] - max);
    put(&d[j], j == target ? (e / sum - 1.0f) * scale : e * factor);
  }
}

/* One block a row. The gradient may lie on the logits: a thread writes what it alone still reads, and the
 * target's logit is read before the last barrier of the sum. */
template <typename T>
__global__ void k_cross_entropy(qg_cross_entropy_args a, double *row_loss)
{
  __shared__ int32_t keys[WARPS];
  __shared__ float parts[WARPS];
  const float *x = row_of<float>(a.logits, blockIdx.x);
  T *d = a.d_logits.data ? row_of<T>(a.d_logits, blockIdx.x) : nullptr;
  int64_t vocab = a.logits.cols;
  int32_t target = a.targets[blockIdx.x];
  if (target < 0) {
    for (int64_t j = threadIdx.x; d && j < vocab; j += THREADS) put(&d[j], 0.0f);
    if (threadIdx.x == 0) row_loss[blockIdx.x] = 0.0;
    return;
  }
  float max = -INFINITY, sum = 0.0f, at_target = x[target];
  for (int64_t j = threadIdx.x; j < vocab; j += THREADS) max = fmaxf(max, x[j]);
  max = block_max(max, keys);
  for (int64_t j = threadIdx.x; j < vocab; j += THREADS) sum += expf(x[j] - max);
  sum = block_sum(sum, parts);
  if (threadIdx.x == 0)
    row_loss[blockIdx.x] =
        log(static_cast<double>(sum)) + static_cast<double>(max) - static_cast<double>(at_target);
  if (d) write_gradient(x, d, vocab, target, max, sum, a.grad_scale);
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
  cudaError_t error = launch(stream, a->logits.rows, THREADS, kernel, *a, row_loss);
  if (error != cudaSuccess) return error;
  return launch(stream, 1, THREADS, k_add_losses, row_loss, a->logits.rows, a->loss);
}
