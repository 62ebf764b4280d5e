/* Fused attention, backward. With P = exp(S - lse) recomputed from the log-sum-exp of forward,
 *   dV = P^T dO,  dP = dO V^T,  dS = P (dP - delta) / sqrt(dim),  delta = rowsum(dO O),  dQ = dS K,  dK =
 * dS^T Q. Two kernels, so that every sum has one owner and one order: a tile of queries adds up dQ over its
 * keys, a tile of keys adds up dK and dV over its queries. Both make S and dP, seven products instead of
 * five; the second makes them transposed, for then P^T and dS^T lie as the left operands that dV and dK want.
 */
#include "cuda/kernels/attention_tiles.cuh"

enum { STEP = 32, COLUMNS = STEP / 8 };

/* Two tiles stay, two pairs of buffers stream; of each query in the stream two statistics. */
template <int D>
constexpr int backward_shared = tile<D>::bytes(2 * TILE + 4 * STEP);
constexpr int statistics_bytes = 4 * STEP * int(sizeof(float));

/* Where a block keeps them. `kept` and `streamed` are pairs: q and d_o, or k and v. */
template <int D>
struct backward_tiles {
  bf16 *kept[2], *buffers;

  __device__ backward_tiles() : kept{reinterpret_cast<bf16 *>(shared_memory()), nullptr}, buffers(nullptr)
  {
    kept[1] = kept[0] + TILE * tile<D>::stride;
    buffers = kept[1] + TILE * tile<D>::stride;
  }
  __device__ bf16 *streamed(int buffer, int which) const
  {
    return buffers + (2 * buffer + which) * STEP * tile<D>::stride;
  }
  __device__ bf16 *own(int which) const
  {
    return kept[which] + threadIdx.x / WARP * WARP_ROWS * tile<D>::stride;
  }
};

/* Where the statistics of a query head's first row lie in lse and delta [heads, tokens]. */
__device__ static inline int64_t statistics_of(const qg_attention_args &a, attention_item item)
{
  return item.head * a.q.rows + item.sequence * a.sequence_length;
}

/* This lane's share of rowsum(dO O): four lanes read one row in pieces. */
__device__ static inline float dot_share(head_rows x, head_rows y, int row)
{
  float sum = 0.0f;
  for (int j = threadIdx.x % 4 * PART; row < x.length && j < x.dim; j += 4 * PART) {
    alignas(WIDE) bf16 u[PART], v[PART];
    copy_part(u, x.data + row * x.stride + j);
    copy_part(v, y.data + row * y.stride + j);
#pragma unroll
    for (int i = 0; i < PART; i++) sum = fmaf(value(u[i]), value(v[i]), sum);
  }
  return sum;
}

/* Of the two rows that a lane holds elements of; lse times LOG2_E. A row that does not exist gets
 * probabilities of 0.
 */
struct row_statistics {
  float lse[2], delta[2];
};

/* Leaves delta to the second kernel. */
__device__ static inline row_statistics make_statistics(const qg_attention_args &a, attention_item item,
                                                        int first_row, float *delta)
{
  head_rows o = rows_of_head(a, a.o, item.sequence, item.head),
            d_o = rows_of_head(a, a.d_o, item.sequence, item.head);
  int64_t at = statistics_of(a, item);
  row_statistics statistics;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    int row = first_row + row_in(2 * h);
    bool exists = row < o.length;
    statistics.delta[h] = row_sum(dot_share(o, d_o, row));
    statistics.lse[h] = exists ? a.lse[at + row] * LOG2_E : INFINITY;
    if (exists && threadIdx.x % 4 == 0) delta[at + row] = statistics.delta[h];
  }
  return statistics;
}

/* One block a TILE of queries; those with the most keys begin first. */
template <int D>
__global__ void __launch_bounds__(TILE_THREADS, D > 96 ? 2 : 3)
    k_attention_d_q(qg_attention_args a, float scale, float *delta)
{
  int64_t items = a.q.rows / a.sequence_length * a.heads;
  int tiles = static_cast<int>(gridDim.x / items),
      row = (tiles - 1 - static_cast<int>(blockIdx.x / items)) * TILE;
  attention_item item = item_of(blockIdx.x % items, static_cast<int>(a.heads));
  int kv_head = item.head / static_cast<int>(a.heads / a.kv_heads);
  int first_row = row + threadIdx.x / WARP * WARP_ROWS;
  head_rows k = rows_of_head(a, a.k, item.sequence, kv_head),
            v = rows_of_head(a, a.v, item.sequence, kv_head);
  backward_tiles<D> tiles_at;
  float d_q[D / 8][4];
  clear(d_q);
  stage<D, TILE>(tiles_at.kept[0], rows_of_head(a, a.q, item.sequence, item.head), row);
  stage<D, TILE>(tiles_at.kept[1], rows_of_head(a, a.d_o, item.sequence, item.head), row);
  row_statistics of_row = make_statistics(a, item, first_row, delta);
  auto load = [&](int step, int buffer) {
    stage<D, STEP>(tiles_at.streamed(buffer, 0), k, step * STEP);
    stage<D, STEP>(tiles_at.streamed(buffer, 1), v, step * STEP);
  };
  stream_steps(steps_until<STEP>(a, row + TILE), load, [&](int step, int buffer) {
    int first_key = step * STEP;
    float s[COLUMNS][4], d_p[COLUMNS][4];
    if (first_key >= first_row + WARP_ROWS) return;
    clear(s);
    clear(d_p);
    add_times_transposed<D, STEP>(s, tiles_at.own(0), tiles_at.streamed(buffer, 0));
    add_times_transposed<D, STEP>(d_p, tiles_at.own(1), tiles_at.streamed(buffer, 1));
#pragma unroll
    for (int n = 0; n < COLUMNS; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        bool visible = first_key + 8 * n + column_in(i) <= first_row + row_in(i);
        float p = visible ? exp2f(fmaf(s[n][i], scale * LOG2_E, -of_row.lse[i / 2])) : 0.0f;
        s[n][i] = p * (d_p[n][i] - of_row.delta[i / 2]);
      }
    add_times<D, STEP>(d_q, s, tiles_at.streamed(buffer, 0));
  });
  store_rows<D>(rows_of_head(a, a.d_q, item.sequence, item.head), first_row, d_q, {scale, scale},
                tiles_at.own(0));
}

/* Statistics of the queries of a step: `to` holds lse times LOG2_E and then delta, STEP of each. */
__device__ static inline void stage_statistics(float *to, const qg_attention_args &a, attention_item item,
                                               int first, const float *delta)
{
  int64_t at = statistics_of(a, item);
  int row = first + static_cast<int>(threadIdx.x);
  if (threadIdx.x >= STEP) return;
  to[threadIdx.x] = row < a.sequence_length ? a.lse[at + row] * LOG2_E : INFINITY;
  to[STEP + threadIdx.x] = row < a.sequence_length ? delta[at + row] : 0.0f;
}

/* One block a TILE of keys; those with the most queries begin first. The query heads of a group add to the
 * same keys, one after the other. */
template <int D>
__global__ void __launch_bounds__(TILE_THREADS, 2)
    k_attention_d_kv(qg_attention_args a, float scale, const float *delta)
{
  int64_t items = a.q.rows / a.sequence_length * a.kv_heads;
  int key = static_cast<int>(blockIdx.x / items) * TILE, first_key = key + threadIdx.x / WARP * WARP_ROWS;
  int group = static_cast<int>(a.heads / a.kv_heads);
  int steps = steps_until<STEP>(a, static_cast<int>(a.sequence_length)) - key / STEP;
  attention_item item = item_of(blockIdx.x % items, static_cast<int>(a.kv_heads));
  backward_tiles<D> tiles_at;
  float *statistics = reinterpret_cast<float *>(shared_memory() + backward_shared<D>);
  float d_k[D / 8][4], d_v[D / 8][4];
  clear(d_k);
  clear(d_v);
  stage<D, TILE>(tiles_at.kept[0], rows_of_head(a, a.k, item.sequence, item.head), key);
  stage<D, TILE>(tiles_at.kept[1], rows_of_head(a, a.v, item.sequence, item.head), key);
  auto load = [&](int step, int buffer) {
    attention_item query = {item.sequence, item.head * group + step / steps};
    int row = key + step % steps * STEP;
    stage<D, STEP>(tiles_at.streamed(buffer, 0), rows_of_head(a, a.q, query.sequence, query.head), row);
    stage<D, STEP>(tiles_at.streamed(buffer, 1), rows_of_head(a, a.d_o, query.sequence, query.head), row);
    stage_statistics(statistics + buffer * 2 * STEP, a, query, row, delta);
  };
  stream_steps(group * steps, load, [&](int step, int buffer) {
    int first_row = key + step % steps * STEP;
    const float *lse = statistics + buffer * 2 * STEP, *inner = lse + STEP;
    float p[COLUMNS][4], d_s[COLUMNS][4];
    if (first_row + STEP <= first_key) return;
    clear(p);
    clear(d_s);
    add_times_transposed<D, STEP>(p, tiles_at.own(0), tiles_at.streamed(buffer, 0));
    add_times_transposed<D, STEP>(d_s, tiles_at.own(1), tiles_at.streamed(buffer, 1));
#pragma unroll
    for (int n = 0; n < COLUMNS; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int column = 8 * n + column_in(i);
        bool visible = first_key + row_in(i) <= first_row + column;
        p[n][i] = visible ? exp2f(fmaf(p[n][i], scale * LOG2_E, -lse[column])) : 0.0f;
        d_s[n][i] = p[n][i] * (d_s[n][i] - inner[column]);
      }
    add_times<D, STEP>(d_v, p, tiles_at.streamed(buffer, 1));
    add_times<D, STEP>(d_k, d_s, tiles_at.streamed(buffer, 0));
  });
  store_rows<D>(rows_of_head(a, a.d_k, item.sequence, item.head), first_key, d_k, {scale, scale},
                tiles_at.own(0));
  store_rows<D>(rows_of_head(a, a.d_v, item.sequence, item.head), first_key, d_v, {1.0f, 1.0f},
                tiles_at.own(1));
}

template <int D>
static cudaError_t launch_backward(cudaStream_t stream, const qg_attention_args *a, float *delta)
{
  int64_t blocks = tiles_of(a) * sequences_of(a);
  float scale = 1.0f / sqrtf(static_cast<float>(a->head_dim));
  cudaError_t error = launch_shared(stream, blocks * a->heads, TILE_THREADS, backward_shared<D>,
                                    k_attention_d_q<D>, *a, scale, delta);
  if (error != cudaSuccess) return error;
  return launch_shared(stream, blocks * a->kv_heads, TILE_THREADS, backward_shared<D> + statistics_bytes,
                       k_attention_d_kv<D>, *a, scale, delta);
}

cudaError_t qg_k_attention_backward(cudaStream_t stream, const qg_attention_args *a, float *delta)
{
  auto launch_head = a->head_dim > 96   ? launch_backward<128>
                     : a->head_dim > 64 ? launch_backward<96>
                     : a->head_dim > 32 ? launch_backward<64>
                                        : launch_backward<32>;
  return launch_head(stream, a, delta);
}
