/* Conversions, sums and the embedding. */
#include "cuda/kernels/vectorized.cuh"

template <typename D, typename S>
__global__ void k_convert(qg_view dst, qg_view src)
{
  for_part(src.rows, src.cols, [&](int64_t i, int64_t j, int count) {
    convert_part(row_of<const S>(src, i) + j, count, row_of<D>(dst, i) + j);
  });
}

template <typename D, typename S>
__global__ void k_scale_add(float alpha, qg_view src, float beta, qg_view dst)
{
  for_part(src.rows, src.cols, [&](int64_t i, int64_t j, int count) {
    alignas(WIDE) float x[PART], y[PART];
    D *to = row_of<D>(dst, i) + j;
    load_part(row_of<const S>(src, i) + j, count, x);
    load_part(static_cast<const D *>(to), beta == 0.0f ? 0 : count, y);
#pragma unroll
    for (int k = 0; k < PART; k++) y[k] = beta == 0.0f ? alpha * x[k] : beta * y[k] + alpha * x[k];
    store_part(to, count, static_cast<const float *>(y));
  });
}

cudaError_t qg_k_convert(cudaStream_t stream, qg_view dst, qg_view src)
{
  auto kernel = dst.type == QG_BF16
                    ? (src.type == QG_BF16 ? k_convert<bf16, bf16> : k_convert<bf16, float>)
                    : (src.type == QG_BF16 ? k_convert<float, bf16> : k_convert<float, float>);
  return launch(stream, blocks_of_parts(src.rows, src.cols), THREADS, kernel, dst, src);
}

cudaError_t qg_k_scale_add(cudaStream_t stream, float alpha, qg_view src, float beta, qg_view dst)
{
  auto kernel = dst.type == QG_BF16
                    ? (src.type == QG_BF16 ? k_scale_add<bf16, bf16> : k_scale_add<bf16, float>)
                    : (src.type == QG_BF16 ? k_scale_add<float, bf16> : k_scale_add<float, float>);
  return launch(stream, blocks_of_parts(src.rows, src.cols), THREADS, kernel, alpha, src, beta, dst);
}

/* Block b takes the rows b, b + blocks, ... of a view. */
template <typename T>
__global__ void k_sum_squares(qg_view src, double *partial)
{
  __shared__ double parts[WARPS];
  double sum = 0.0;
  for (int64_t i = blockIdx.x; i < src.rows; i += gridDim.x)
    for_parts_of_row(src.cols, [&](int64_t j, int count) {
      alignas(WIDE) float x[PART];
      load_part(row_of<const T>(src, i) + j, count, x);
#pragma unroll
      for (int k = 0; k < PART; k++) sum += static_cast<double>(x[k]) * static_cast<double>(x[k]);
    });
  sum = block_sum(sum, parts);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void k_sum_parts(const double *partial, int count, double *out, qg_finite_guard *guard)
{
  __shared__ double parts[WARPS];
  double sum = block_sum(static_cast<int>(threadIdx.x) < count ? partial[threadIdx.x] : 0.0, parts);
  if (threadIdx.x != 0) return;
  *out = sum;
  if (guard) qg_finite_guard_note(guard, sum);
}

static_assert(int(QG_CUDA_SUM_BLOCKS) <= int(THREADS), "one block adds the partial sums");

/* A dense view is cut into rows of SUM_COLS and a rest, whatever its shape. */
enum { SUM_COLS = 4096 };

static qg_view rest_of(qg_view dense)
{
  int64_t count = dense.rows * dense.cols, rest = count % SUM_COLS;
  return qg_view_make(static_cast<char *>(dense.data) + qg_dtype_bytes(dense.type, count - rest), dense.type,
                      rest > 0, rest);
}

cudaError_t qg_k_sum_squares(cudaStream_t stream, qg_view src, double *partial, double *out,
                             qg_finite_guard *guard)
{
  auto kernel = src.type == QG_BF16 ? k_sum_squares<bf16> : k_sum_squares<float>;
  qg_view rest = {};
  if (src.stride == src.cols) {
    rest = rest_of(src);
    src = qg_view_make(src.data, src.type, src.rows * src.cols / SUM_COLS, SUM_COLS);
  }
  int64_t blocks = src.rows < QG_CUDA_SUM_BLOCKS - 1 ? src.rows : QG_CUDA_SUM_BLOCKS - 1;
  cudaError_t error = launch(stream, blocks, THREADS, kernel, src, partial);
  if (error == cudaSuccess) error = launch(stream, rest.rows, THREADS, kernel, rest, partial + blocks);
  if (error != cudaSuccess) return error;
  return launch(stream, 1, THREADS, k_sum_parts, partial, static_cast<int>(blocks + rest.rows), out, guard);
}

template <typename T, typename S>
__global__ void k_embed(qg_view table, const int32_t *ids, qg_view out)
{
  for_part(out.rows, out.cols, [&](int64_t i, int64_t j, int count) {
    convert_part(row_of<const S>(table, ids[i]) + j, count, row_of<T>(out, i) + j);
  });
}

cudaError_t qg_k_embed(cudaStream_t stream, qg_view table, const int32_t *ids, qg_view out)
{
  auto kernel = out.type == QG_BF16 ? (table.type == QG_BF16 ? k_embed<bf16, bf16> : k_embed<bf16, float>)
                                    : (table.type == QG_BF16 ? k_embed<float, bf16> : k_embed<float, float>);
  return launch(stream, blocks_of_parts(out.rows, out.cols), THREADS, kernel, table, ids, out);
}

/* Whether this block's token is the first of its id. All threads get the answer. */
__device__ static bool is_first_of_id(const int32_t *ids, int32_t *parts)
{
  int32_t earlier = 0;
  for (int64_t t = threadIdx.x; t < blockIdx.x; t += THREADS) earlier |= ids[t] == ids[blockIdx.x];
  return block_max(earlier, parts) == 0;
}

/* Lists in `found` [THREADS] which of the THREADS tokens from `first` on have the id, ascending; returns how
 * many. */
__device__ static int list_tokens(const int32_t *ids, int64_t first, int64_t tokens, int32_t id, int *found,
                                  int *before)
{
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  bool match = first + threadIdx.x < tokens && ids[first + threadIdx.x] == id;
  unsigned mask = __ballot_sync(0xffffffffu, match);
  if (lane == 0) before[warp] = __popc(mask);
  __syncthreads();
  int at = __popc(mask & ((1u << lane) - 1u)), count = 0;
  for (int w = 0; w < WARPS; w++) {
    if (w == warp) at += count;
    count += before[w];
  }
  if (match) found[at] = static_cast<int>(threadIdx.x);
  __syncthreads();
  return count;
}

/* Adds the rows `found` [count] of d_out, in their order and rounded to the gradient's type each time. AHEAD
 * of them are on their way at once: frequent tokens have hundreds. */
template <typename T, typename G>
__device__ static inline void add_rows(const qg_view &d_out, int64_t first, const int *found, int count,
                                       G *row)
{
  enum { AHEAD = 4 };
  for_parts_of_row(d_out.cols, [&](int64_t j, int elements) {
    alignas(WIDE) G sum[PART];
    load_part(static_cast<const G *>(row) + j, elements, sum);
    for (int k = 0; k < count; k += AHEAD) {
      alignas(WIDE) float x[AHEAD][PART];
#pragma unroll
      for (int a = 0; a < AHEAD; a++) {
        int token = found[k + a < count ? k + a : k];
        load_part(row_of<const T>(d_out, first + token) + j, elements, x[a]);
      }
#pragma unroll
      for (int a = 0; a < AHEAD; a++)
#pragma unroll
        for (int e = 0; e < PART; e++)
          if (k + a < count) put(&sum[e], value(sum[e]) + x[a][e]);
    }
    store_part(row + j, elements, static_cast<const G *>(sum));
  });
}

/* One block a token. The block of an id's first token adds up the rows of all its tokens; so no two blocks
 * write one row. */
template <typename T, typename G>
__global__ void k_embed_backward(const int32_t *ids, qg_view d_out, qg_view grad)
{
  __shared__ int32_t parts[WARPS];
  __shared__ int found[THREADS], before[WARPS];
  if (!is_first_of_id(ids, parts)) return;
  int32_t id = ids[blockIdx.x];
  G *row = row_of<G>(grad, id);
  for (int64_t first = blockIdx.x; first < d_out.rows; first += THREADS) {
    int count = list_tokens(ids, first, d_out.rows, id, found, before);
    if (count > 0) add_rows<T>(d_out, first, found, count, row);
    __syncthreads();
  }
}

cudaError_t qg_k_embed_backward(cudaStream_t stream, const int32_t *ids, qg_view d_out, qg_view grad)
{
  auto kernel = d_out.type == QG_BF16
                    ? (grad.type == QG_BF16 ? k_embed_backward<bf16, bf16> : k_embed_backward<bf16, float>)
                    : (grad.type == QG_BF16 ? k_embed_backward<float, bf16> : k_embed_backward<float, float>);
  return launch(stream, d_out.rows, THREADS, kernel, ids, d_out, grad);
}

__global__ void k_nothing(void)
{
}

cudaError_t qg_k_probe(bool *from_ptx)
{
  cudaFuncAttributes attributes = {};
  cudaError_t error = cudaFuncGetAttributes(&attributes, k_nothing);
  *from_ptx = attributes.binaryVersion != attributes.ptxVersion;
  return error;
}
