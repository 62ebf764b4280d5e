/* Fused attention, forward: o = softmax(q k^T / sqrt(dim)) v over the keys that a query may see, and the
 * log-sum-exp of each row. The softmax is corrected as keys stream past: with m the maximum so far, m' =
 * max(m, scores),  sum = sum exp(m - m') + sum_j exp(s_j - m'),  o = o exp(m - m') + exp(s - m') v. */
#include "cuda/kernels/attention_tiles.cuh"

/* Keys of a step: as many as leave room for three blocks on an SM of sm_80 (doc/measurements.md). */
template <int D>
constexpr int forward_step = D > 64 ? 32 : 64;

template <int D>
constexpr int forward_shared = tile<D>::bytes(TILE + 4 * forward_step<D>);

/* Of the two rows that a lane holds elements of: rows row_in(0) and row_in(2). `sum` is this lane's share. */
struct softmax_state {
  float max[2], sum[2];
};

/* A query sees the keys up to its own. */
template <int N>
__device__ static inline void hide_later_keys(float (&s)[N][4], int first_row, int first_key)
{
#pragma unroll
  for (int n = 0; n < N; n++)
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (first_key + 8 * n + column_in(i) > first_row + row_in(i)) s[n][i] = -INFINITY;
}

/* The largest score of row row_in(2 h) and of what came before. */
template <int N>
__device__ static inline float row_max(const float (&s)[N][4], int h, float max)
{
#pragma unroll
  for (int n = 0; n < N; n++) max = fmaxf(max, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
  max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, 1));
  return fmaxf(max, __shfl_xor_sync(0xffffffffu, max, 2));
}

/* Scores become exp((s - m') scale), and what was summed before is brought to m'. scale contains LOG2_E. */
template <int N, int M>
__device__ static inline void soften(float (&s)[N][4], float (&o)[M][4], softmax_state *state, float scale)
{
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float max = row_max(s, h, state->max[h]), shift = -max * scale;
    float factor = exp2f((state->max[h] - max) * scale);
    state->max[h] = max;
    state->sum[h] *= factor;
#pragma unroll
    for (int m = 0; m < M; m++) o[m][2 * h] *= factor, o[m][2 * h + 1] *= factor;
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
      for (int i = 2 * h; i < 2 * h + 2; i++) {
        s[n][i] = exp2f(fmaf(s[n][i], scale, shift));
        state->sum[h] += s[n][i];
      }
  }
}

/* One block a TILE of queries; those with the most keys begin first. */
template <int D>
__global__ void __launch_bounds__(TILE_THREADS, 3) k_attention_forward(qg_attention_args a, float scale)
{
  constexpr int STEP = forward_step<D>, N = STEP / 8;
  int64_t items = a.q.rows / a.sequence_length * a.heads;
  int tiles = static_cast<int>(gridDim.x / items),
      row = (tiles - 1 - static_cast<int>(blockIdx.x / items)) * TILE;
  attention_item item = item_of(blockIdx.x % items, static_cast<int>(a.heads));
  int kv_head = item.head / static_cast<int>(a.heads / a.kv_heads), warp_row = threadIdx.x / WARP * WARP_ROWS;
  head_rows k = rows_of_head(a, a.k, item.sequence, kv_head),
            v = rows_of_head(a, a.v, item.sequence, kv_head);
  bf16 *q = reinterpret_cast<bf16 *>(shared_memory()), *keys = q + TILE * tile<D>::stride,
       *values = keys + 2 * STEP * tile<D>::stride, *own = q + warp_row * tile<D>::stride;
  int first_row = row + warp_row;
  float o[D / 8][4], s[N][4];
  softmax_state state = {{-INFINITY, -INFINITY}, {0.0f, 0.0f}};
  clear(o);
  stage<D, TILE>(q, rows_of_head(a, a.q, item.sequence, item.head), row);
  auto load = [&](int step, int buffer) {
    stage<D, STEP>(keys + buffer * STEP * tile<D>::stride, k, step * STEP);
    stage<D, STEP>(values + buffer * STEP * tile<D>::stride, v, step * STEP);
  };
  stream_steps(steps_until<STEP>(a, row + TILE), load, [&](int step, int buffer) {
    if (step * STEP >= first_row + WARP_ROWS) return;
    clear(s);
    add_times_transposed<D, STEP>(s, own, keys + buffer * STEP * tile<D>::stride);
    if (step * STEP + STEP > first_row + 1) hide_later_keys(s, first_row, step * STEP);
    soften(s, o, &state, scale * LOG2_E);
    add_times<D, STEP>(o, s, values + buffer * STEP * tile<D>::stride);
  });
  float factor[2];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float sum = row_sum(state.sum[h]);
    int r = first_row + row_in(2 * h);
    factor[h] = 1.0f / sum;
    if (threadIdx.x % 4 == 0 && r < a.sequence_length)
      a.lse[item.head * a.q.rows + item.sequence * a.sequence_length + r] = state.max[h] * scale + logf(sum);
  }
  store_rows<D>(rows_of_head(a, a.o, item.sequence, item.head), first_row, o, factor, own);
}

template <int D>
static cudaError_t launch_forward(cudaStream_t stream, const qg_attention_args *a)
{
  return launch_shared(stream, tiles_of(a) * sequences_of(a) * a->heads, TILE_THREADS, forward_shared<D>,
                       k_attention_forward<D>, *a, 1.0f / sqrtf(static_cast<float>(a->head_dim)));
}

cudaError_t qg_k_attention_forward(cudaStream_t stream, const qg_attention_args *a)
{
  auto launch_head = a->head_dim > 96   ? launch_forward<128>
                     : a->head_dim > 64 ? launch_forward<96>
                     : a->head_dim > 32 ? launch_forward<64>
                                        : launch_forward<32>;
  return launch_head(stream, a);
}
