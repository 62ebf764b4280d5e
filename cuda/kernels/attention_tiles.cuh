/* Fused attention: what its kernels share. A block of four warps keeps TILE rows of one head in shared memory
 * and streams the other side of the products past them, STEP rows at a time in two buffers; a warp owns 16 of
 * the TILE rows. Scores exist in registers alone (Dao, FlashAttention-2, arXiv 2307.08691).
 *
 * D is the head size rounded up to a size that is built: columns and rows that do not exist are zeros in
 * shared memory and are not stored. */
#ifndef QG_CUDA_ATTENTION_TILES_CUH
#define QG_CUDA_ATTENTION_TILES_CUH

#include "cuda/kernels/tensor_core.cuh"
#include "cuda/kernels/vectorized.cuh"

enum { TILE = 64, TILE_THREADS = 128, WARP_ROWS = 16 };

/* exp(x) = exp2(x LOG2_E). */
#define LOG2_E 1.4426950408889634f

/* Rows of shared memory are 16 bytes longer than D elements, so that the eight rows which one ldmatrix reads
 * lie in different banks. */
template <int D>
struct tile {
  static constexpr int stride = D + PART;
  static constexpr int bytes(int rows) { return rows * stride * int(sizeof(bf16)); }
};

/* The rows of one head in one sequence. */
struct head_rows {
  bf16 *data;
  int64_t stride;
  int length, dim;
};

/* Which sequence and head a block works on; items are numbered sequence by sequence. */
struct attention_item {
  int64_t sequence;
  int head;
};

__device__ inline attention_item item_of(int64_t item, int heads)
{
  return attention_item{item / heads, static_cast<int>(item % heads)};
}

__device__ inline head_rows rows_of_head(const qg_attention_args &a, const qg_view &view, int64_t sequence,
                                         int head)
{
  return head_rows{row_of<bf16>(view, sequence * a.sequence_length) + static_cast<int64_t>(head) * a.head_dim,
                   view.stride, static_cast<int>(a.sequence_length), static_cast<int>(a.head_dim)};
}

/* Steps that cover the rows before `end`, those that exist. */
template <int STEP>
__device__ inline int steps_until(const qg_attention_args &a, int end)
{
  int length = static_cast<int>(a.sequence_length);
  return ((end < length ? end : length) + STEP - 1) / STEP;
}

/* Begins to copy rows [first, first + ROWS) into a tile. Every thread has the same number of pieces, known
 * beforehand, so that little is left to do between the copies. */
template <int D, int ROWS>
__device__ inline void stage(bf16 *to, head_rows from, int first)
{
  constexpr int pieces = D / PART, turns = ROWS * pieces / TILE_THREADS;
  static_assert(turns * TILE_THREADS == ROWS * pieces, "no thread has one piece more than another");
#pragma unroll
  for (int turn = 0; turn < turns; turn++) {
    int k = turn * TILE_THREADS + static_cast<int>(threadIdx.x);
    int i = k / pieces, j = k % pieces * PART;
    bool exists = first + i < from.length && j < from.dim;
    copy_async(to + i * tile<D>::stride + j, exists ? from.data + (first + i) * from.stride + j : from.data,
               exists);
  }
}

/* load(s, buffer) begins to copy the rows of step s, work(s, buffer) works on them while those of the next
 * step are on their way. */
template <typename Load, typename Work>
__device__ inline void stream_steps(int steps, Load load, Work work)
{
  if (steps > 0) load(0, 0);
  commit_copies();
  for (int s = 0; s < steps; s++) {
    if (s + 1 < steps) load(s + 1, (s + 1) % 2);
    commit_copies();
    wait_for_copies<1>();
    __syncthreads();
    work(s, s % 2);
    __syncthreads();
  }
}

/* c [16, N] += a b^T: a are 16 rows, b N rows of tiles. */
template <int D, int N>
__device__ inline void add_times_transposed(float (&c)[N / 8][4], const bf16 *a, const bf16 *b)
{
  int lane = threadIdx.x % WARP;
  const bf16 *row_a = a + lane % 16 * tile<D>::stride + lane / 16 * 8;
  const bf16 *row_b = b + (lane % 8 + lane / 16 * 8) * tile<D>::stride + lane / 8 % 2 * 8;
#pragma unroll
  for (int k = 0; k < D; k += 16) {
    uint32_t x[4], y[4];
    load_matrices(x, row_a + k);
#pragma unroll
    for (int n = 0; n < N; n += 16) {
      load_matrices(y, row_b + n * tile<D>::stride + k);
      multiply_add(c[n / 8], x, y[0], y[1]);
      multiply_add(c[n / 8 + 1], x, y[2], y[3]);
    }
  }
}

/* c [16, D] += p b with p [16, N] rounded to bf16: sums of one product lie as the next one wants its left
 * operand. */
template <int D, int N>
__device__ inline void add_times(float (&c)[D / 8][4], const float (&p)[N / 8][4], const bf16 *b)
{
  int lane = threadIdx.x % WARP;
  const bf16 *row_b = b + lane % 16 * tile<D>::stride + lane / 16 * 8;
#pragma unroll
  for (int k = 0; k < N; k += 16) {
    const float(&low)[4] = p[k / 8], (&high)[4] = p[k / 8 + 1];
    const uint32_t x[4] = {pack(low[0], low[1]), pack(low[2], low[3]), pack(high[0], high[1]),
                           pack(high[2], high[3])};
#pragma unroll
    for (int n = 0; n < D; n += 16) {
      uint32_t y[4];
      load_transposed(y, row_b + k * tile<D>::stride + n);
      multiply_add(c[n / 8], x, y[0], y[1]);
      multiply_add(c[n / 8 + 1], x, y[2], y[3]);
    }
  }
}

template <int N>
__device__ inline void clear(float (&c)[N][4])
{
#pragma unroll
  for (int n = 0; n < N; n++) c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0.0f;
}

/* Element i of c[n] lies in row row_in(i) and column 8 n + column_in(i) of the warp's [16, N]. */
__device__ inline int row_in(int i)
{
  return threadIdx.x % WARP / 4 + i / 2 * 8;
}

__device__ inline int column_in(int i)
{
  return threadIdx.x % 4 * 2 + i % 2;
}

/* Sum over the four lanes that hold one row. */
__device__ inline float row_sum(float x)
{
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/* Rows [first, first + 16) of `to` = c, row i times factor[i / 8]. `own` are 16 rows of a tile that no other
 * warp reads any more: through them the stores become wide. */
template <int D>
__device__ inline void store_rows(head_rows to, int first, const float (&c)[D / 8][4],
                                  const float (&factor)[2], bf16 *own)
{
  constexpr int pieces = D / PART;
#pragma unroll
  for (int n = 0; n < D / 8; n++)
#pragma unroll
    for (int i = 0; i < 4; i += 2)
      *reinterpret_cast<uint32_t *>(own + row_in(i) * tile<D>::stride + 8 * n + column_in(0)) =
          pack(c[n][i] * factor[i / 2], c[n][i + 1] * factor[i / 2]);
  __syncwarp();
  for (int k = threadIdx.x % WARP; k < WARP_ROWS * pieces; k += WARP) {
    int i = k / pieces, j = k % pieces * PART;
    if (first + i < to.length && j < to.dim)
      copy_part(to.data + (first + i) * to.stride + j, own + i * tile<D>::stride + j);
  }
}

static inline int64_t tiles_of(const qg_attention_args *a)
{
  return (a->sequence_length + TILE - 1) / TILE;
}

static inline int64_t sequences_of(const qg_attention_args *a)
{
  return a->q.rows / a->sequence_length;
}

#endif
