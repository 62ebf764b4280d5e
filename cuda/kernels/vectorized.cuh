/* Vectorized access to memory: a thread moves PART neighbouring elements at once; and element-wise kernels
 * over such parts. */
#ifndef QG_CUDA_VECTORIZED_CUH
#define QG_CUDA_VECTORIZED_CUH

#include <type_traits>

#include "cuda/kernels/instructions.cuh"

/* A thread moves PART neighbours at once, in accesses of up to WIDE bytes where their address allows it. */
enum { PART = 8, WIDE = 16 };

template <typename T>
struct alignas(PART * sizeof(T) < WIDE ? PART * sizeof(T) : size_t(WIDE)) whole_part {
  T x[PART];
};

/* Both aligned as whole parts are. */
template <typename T>
__device__ inline void copy_part(T *to, const T *from)
{
  *reinterpret_cast<whole_part<T> *>(to) = *reinterpret_cast<const whole_part<T> *>(from);
}

template <typename T>
__device__ inline bool is_wide(const T *address, int count)
{
  return count == PART && reinterpret_cast<uintptr_t>(address) % alignof(whole_part<T>) == 0;
}

/* Stores a whole part to global memory. Copies of structures are split into stores of single elements where
 * the compiler finds that some of them are stored elsewhere too; an access of its own is not. */
template <typename T>
__device__ inline void store_whole(T *to, const T *x)
{
  using access = typename std::conditional<sizeof(whole_part<T>) < WIDE, uint2, uint4>::type;
  constexpr int elements = sizeof(access) / sizeof(T);
#pragma unroll
  for (int i = 0; i < PART; i += elements) {
    access bits;
    memcpy(&bits, x + i, sizeof bits);
    store_wide(to + i, bits);
  }
}

/* x = part, and 0 where no element exists. */
template <typename T>
__device__ inline void load_part(const T *from, int count, T *x)
{
  if (is_wide(from, count)) {
    copy_part(x, from);
    return;
  }
#pragma unroll
  for (int i = 0; i < PART; i++) x[i] = i < count ? from[i] : T();
}

/* To global memory. */
template <typename T>
__device__ inline void store_part(T *to, int count, const T *x)
{
  if (is_wide(to, count)) {
    store_whole(to, x);
    return;
  }
#pragma unroll
  for (int i = 0; i < PART; i++)
    if (i < count) to[i] = x[i];
}

/* A part of bf16 in words, the even element low. */
struct alignas(WIDE) bf16_pairs {
  uint32_t of[PART / 2];
};

__device__ inline bf16_pairs load_pairs(const bf16 *from, int count)
{
  bf16_pairs pairs;
  if (is_wide(from, count)) return *reinterpret_cast<const bf16_pairs *>(from);
#pragma unroll
  for (int i = 0; i < PART; i += 2) {
    uint32_t low = i < count ? from[i].bits : 0, high = i + 1 < count ? from[i + 1].bits : 0;
    pairs.of[i / 2] = low | high << 16;
  }
  return pairs;
}

/* Between bf16 in memory and fp32 in registers. Elements taken apart where a wide load ends would let that
 * wait for memory before the next one begins; pairs are taken apart after all of them. */
__device__ inline void load_part(const bf16 *from, int count, float *x)
{
  bf16_pairs pairs = load_pairs(from, count);
#pragma unroll
  for (int i = 0; i < PART; i++)
    x[i] = qg_bf16_to_float(static_cast<uint16_t>(pairs.of[i / 2] >> i % 2 * 16));
}

/* As memory of a type holds it; in bf16 the bits are those of qg_bf16_from_float, of a NaN too. */
__device__ inline void round_part(const float *x, float *same)
{
#pragma unroll
  for (int i = 0; i < PART; i++) same[i] = x[i];
}

__device__ inline void round_part(const float *x, bf16 *half)
{
  bool numbers = true;
#pragma unroll
  for (int i = 0; i < PART; i += 2) {
    uint32_t pair = pack(x[i], x[i + 1]);
    memcpy(half + i, &pair, sizeof pair);
    numbers = numbers && x[i] == x[i] && x[i + 1] == x[i + 1];
  }
  if (numbers) return;
#pragma unroll
  for (int i = 0; i < PART; i++) put(&half[i], x[i]);
}

__device__ inline void store_part(bf16 *to, int count, const float *x)
{
  alignas(WIDE) bf16 half[PART];
  round_part(x, half);
  store_part(to, count, static_cast<const bf16 *>(half));
}

/* Between equal types bits are kept, those of a NaN too. */
template <typename T>
__device__ inline void convert_part(const T *from, int count, T *to)
{
  alignas(WIDE) T x[PART];
  load_part(from, count, x);
  store_part(to, count, static_cast<const T *>(x));
}

template <typename S, typename D>
__device__ inline void convert_part(const S *from, int count, D *to)
{
  alignas(WIDE) float x[PART];
  load_part(from, count, x);
  store_part(to, count, static_cast<const float *>(x));
}

/* How many elements a part has that begins at element j of a row; not positive beyond the row. */
__device__ inline int part_count(int64_t cols, int64_t j)
{
  int64_t rest = cols - j;
  return static_cast<int>(rest < PART ? rest : int64_t(PART));
}

static inline int64_t parts_of(int64_t cols)
{
  return (cols + PART - 1) / PART;
}

/* Blocks for which every thread gets one part of a [rows, cols] view. */
static inline int64_t blocks_of_parts(int64_t rows, int64_t cols)
{
  return (rows * parts_of(cols) + THREADS - 1) / THREADS;
}

/* work(i, j, count) for the part of this thread: elements (i, j) to (i, j + count - 1). */
template <typename F>
__device__ inline void for_part(int64_t rows, int64_t cols, F work)
{
  int64_t parts = (cols + PART - 1) / PART, at = blockIdx.x * static_cast<int64_t>(THREADS) + threadIdx.x;
  int64_t i = at / parts, j = at % parts * PART;
  if (i < rows) work(i, j, part_count(cols, j));
}

/* work(j, count) for the parts of a row that the threads of a block share. */
template <int N = THREADS, typename F>
__device__ inline void for_parts_of_row(int64_t cols, F work)
{
  for (int64_t j = static_cast<int64_t>(threadIdx.x) * PART; j < cols; j += N * PART)
    work(j, part_count(cols, j));
}

#endif
