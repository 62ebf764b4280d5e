/* What attention does between its matrix products: heads are packed so that products of many heads are one
 * batched call with aligned operands, and scores become probabilities and their gradients row by row. */
#include "cuda/kernels/vectorized.cuh"

/* The row of this warp among items * rows. */
struct packed_row {
  int64_t index, item, row; /* item from 0 */
};

__device__ static inline packed_row row_of_warp(int64_t rows)
{
  int64_t index = blockIdx.x * static_cast<int64_t>(WARPS) + threadIdx.x / WARP;
  return packed_row{index, index / rows, index % rows};
}

static inline int64_t blocks_of_rows(int64_t rows)
{
  return (rows + WARPS - 1) / WARPS;
}

/* Rows of one item of a packed array. */
__host__ __device__ static inline int64_t rows_of(const qg_attention_block &b, qg_packed_heads heads)
{
  return heads == QG_HEADS_KV ? b.keys : b.length;
}

/* The row of a view. */
__device__ static inline int64_t token_of(const qg_attention_block &b, qg_packed_heads heads, int64_t item,
                                          int64_t row)
{
  return (b.first_item + item) / b.kv_heads * (heads == QG_HEADS_KV ? b.key_length : b.length) + row;
}

__device__ static inline int64_t head_of(const qg_attention_block &b, qg_packed_heads heads, int64_t item)
{
  int64_t kv = (b.first_item + item) % b.kv_heads;
  return heads == QG_HEADS_KV ? kv : kv * b.group + b.member;
}

template <typename T>
__device__ static inline T *head_row(const qg_attention_block &b, qg_packed_heads heads, const qg_view &view,
                                     int64_t item, int64_t row)
{
  return row_of<T>(view, token_of(b, heads, item, row)) + head_of(b, heads, item) * b.dim;
}

template <typename T>
__global__ void k_pack(qg_attention_block b, qg_packed_heads heads, qg_view from, T *packed)
{
  int64_t rows = rows_of(b, heads);
  for_part(b.items * rows, b.padded_dim, [&](int64_t row, int64_t j, int count) {
    alignas(WIDE) T x[PART];
    const T *head = head_row<T>(b, heads, from, row / rows, row % rows);
    load_part(head + j, part_count(b.dim, j), x);
    store_part(packed + row * b.padded_dim + j, count, static_cast<const T *>(x));
  });
}

cudaError_t qg_k_pack(cudaStream_t stream, const qg_attention_block *b, qg_packed_heads heads, qg_view from,
                      void *packed)
{
  int64_t blocks = blocks_of_parts(b->items * rows_of(*b, heads), b->padded_dim);
  if (from.type == QG_BF16)
    return launch(stream, blocks, THREADS, k_pack<bf16>, *b, heads, from, static_cast<bf16 *>(packed));
  return launch(stream, blocks, THREADS, k_pack<float>, *b, heads, from, static_cast<float *>(packed));
}

template <typename T, typename P>
__global__ void k_unpack(qg_attention_block b, qg_packed_heads heads, const P *packed, qg_view to)
{
  for_part(b.items * b.rows, b.dim, [&](int64_t index, int64_t j, int count) {
    int64_t item = index / b.rows, row = index % b.rows;
    convert_part(packed + (item * rows_of(b, heads) + row) * b.padded_dim + j, count,
                 head_row<T>(b, heads, to, item, b.first_row + row) + j);
  });
}

cudaError_t qg_k_unpack(cudaStream_t stream, const qg_attention_block *b, qg_packed_heads heads,
                        const void *packed, qg_dtype packed_type, qg_view to)
{
  int64_t blocks = blocks_of_parts(b->items * b->rows, b->dim);
  const float *wide = static_cast<const float *>(packed);
  if (to.type == QG_F32) return launch(stream, blocks, THREADS, k_unpack<float, float>, *b, heads, wide, to);
  if (packed_type == QG_F32)
    return launch(stream, blocks, THREADS, k_unpack<bf16, float>, *b, heads, wide, to);
  return launch(stream, blocks, THREADS, k_unpack<bf16, bf16>, *b, heads, static_cast<const bf16 *>(packed),
                to);
}

/* Where the statistics of a query row lie in lse [heads, tokens]. */
__device__ static inline int64_t lse_index(const qg_attention_block &b, int64_t item, int64_t row)
{
  return head_of(b, QG_HEADS_QUERY, item) * b.tokens + token_of(b, QG_HEADS_QUERY, item, row);
}

/* work(j, count) for the parts of a row that the lanes of a warp share. */
template <typename F>
__device__ static inline void for_parts_of_warp(int64_t cols, F work)
{
  for (int64_t j = threadIdx.x % WARP * PART; j < cols; j += WARP * PART) work(j, part_count(cols, j));
}

/* The greatest score that a query sees; a NaN wins. */
__device__ static inline float max_of_row(const float *s, int64_t visible)
{
  int32_t key = INT32_MIN;
  for_parts_of_warp(visible, [&](int64_t j, int count) {
    alignas(WIDE) float x[PART];
    load_part(s + j, count, x);
#pragma unroll
    for (int i = 0; i < PART; i++) {
      int32_t k = qg_float_key(x[i]);
      key = i < count && k > key ? k : key;
    }
  });
  return qg_float_from_key(warp_max(key));
}

__device__ static inline float sum_of_row(const float *s, int64_t visible, float max)
{
  float sum = 0.0f;
  for_parts_of_warp(visible, [&](int64_t j, int count) {
    alignas(WIDE) float x[PART];
    load_part(s + j, count, x);
#pragma unroll
    for (int i = 0; i < PART; i++) sum += i < count ? expf(x[i] - max) : 0.0f;
  });
  return warp_sum(sum);
}

/* P = softmax(S); lse = max + log(sum of exp(S - max)). */
template <typename T>
__global__ void k_softmax(qg_attention_block b, const float *scores, T *p, float *lse)
{
  packed_row r = row_of_warp(b.rows);
  if (r.item >= b.items) return;
  int64_t visible = b.position + b.first_row + r.row + 1, keys = b.position + b.first_row + b.rows;
  const float *s = scores + r.index * b.padded_keys;
  float max = max_of_row(s, visible), sum = sum_of_row(s, visible, max), factor = 1.0f / sum;
  for_parts_of_warp(keys, [&](int64_t j, int count) {
    alignas(WIDE) float x[PART];
    load_part(s + j, count, x);
#pragma unroll
    for (int i = 0; i < PART; i++) x[i] = j + i < visible ? expf(x[i] - max) * factor : 0.0f;
    store_part(p + r.index * b.padded_keys + j, count, static_cast<const float *>(x));
  });
  if (threadIdx.x % WARP == 0) lse[lse_index(b, r.item, b.first_row + r.row)] = max + logf(sum);
}

cudaError_t qg_k_softmax(cudaStream_t stream, const qg_attention_block *b, const float *scores, void *p,
                         qg_dtype type, float *lse)
{
  int64_t blocks = blocks_of_rows(b->items * b->rows);
  if (type == QG_BF16)
    return launch(stream, blocks, THREADS, k_softmax<bf16>, *b, scores, static_cast<bf16 *>(p), lse);
  return launch(stream, blocks, THREADS, k_softmax<float>, *b, scores, static_cast<float *>(p), lse);
}

template <typename T>
__global__ void k_delta(qg_attention_block b, qg_view o, qg_view d_o, float *delta)
{
  packed_row r = row_of_warp(b.length);
  if (r.item >= b.items) return;
  const T *x = head_row<T>(b, QG_HEADS_QUERY, o, r.item, r.row);
  const T *y = head_row<T>(b, QG_HEADS_QUERY, d_o, r.item, r.row);
  float sum = 0.0f;
  for (int64_t j = threadIdx.x % WARP; j < b.dim; j += WARP) sum += value(x[j]) * value(y[j]);
  sum = warp_sum(sum);
  if (threadIdx.x % WARP == 0) delta[r.index] = sum;
}

cudaError_t qg_k_delta(cudaStream_t stream, const qg_attention_block *b, qg_view o, qg_view d_o, float *delta)
{
  auto kernel = o.type == QG_BF16 ? k_delta<bf16> : k_delta<float>;
  return launch(stream, blocks_of_rows(b->items * b->length), THREADS, kernel, *b, o, d_o, delta);
}

/* P = exp(S - lse), dS = P (dP - dO . O) / sqrt(dim). */
template <typename T>
__global__ void k_softmax_backward(qg_attention_block b, const float *scores, const float *dp,
                                   const float *lse, const float *delta, T *p, T *ds)
{
  packed_row r = row_of_warp(b.rows);
  if (r.item >= b.items) return;
  int64_t visible = b.position + b.first_row + r.row + 1, keys = b.position + b.first_row + b.rows;
  int64_t at = r.index * b.padded_keys;
  float shift = lse[lse_index(b, r.item, b.first_row + r.row)];
  float inner = delta[r.item * b.length + b.first_row + r.row];
  for_parts_of_warp(keys, [&](int64_t j, int count) {
    alignas(WIDE) float x[PART], d[PART];
    load_part(scores + at + j, count, x);
    load_part(dp + at + j, count, d);
#pragma unroll
    for (int i = 0; i < PART; i++) {
      x[i] = j + i < visible ? expf(x[i] - shift) : 0.0f;
      d[i] = j + i < visible ? x[i] * (d[i] - inner) * b.scale : 0.0f;
    }
    store_part(p + at + j, count, static_cast<const float *>(x));
    store_part(ds + at + j, count, static_cast<const float *>(d));
  });
}

cudaError_t qg_k_softmax_backward(cudaStream_t stream, const qg_attention_block *b, const float *scores,
                                  const float *dp, const float *lse, const float *delta, void *p, void *ds,
                                  qg_dtype type)
{
  int64_t blocks = blocks_of_rows(b->items * b->rows);
  if (type == QG_BF16)
    return launch(stream, blocks, THREADS, k_softmax_backward<bf16>, *b, scores, dp, lse, delta,
                  static_cast<bf16 *>(p), static_cast<bf16 *>(ds));
  return launch(stream, blocks, THREADS, k_softmax_backward<float>, *b, scores, dp, lse, delta,
                static_cast<float *>(p), static_cast<float *>(ds));
}
