/* What the kernels share: element types, reductions in a fixed order, checked launches.
 *
 * Kernels hold no state and use no atomics, so the same arguments give the same bits every time. They are
 * plain C++ with the run-time's launch function: the emulation of tests/support/cudaemu builds the same files
 * for the host. */
#ifndef QG_CUDA_COMMON_CUH
#define QG_CUDA_COMMON_CUH

#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>

#include "cuda/kernels/kernels.h"
#include "qgalore/quant.h"

enum { WARP = 32, THREADS = 256, WARPS = THREADS / WARP };

/* Stored as the formats of qgalore/quant.h define it. */
struct bf16 {
  uint16_t bits;
};

__device__ inline float value(float x)
{
  return x;
}

__device__ inline float value(bf16 x)
{
  return qg_bf16_to_float(x.bits);
}

__device__ inline void put(float *to, float x)
{
  *to = x;
}

__device__ inline void put(bf16 *to, float x)
{
  to->bits = qg_bf16_from_float(x);
}

/* Row i of a view of T. */
template <typename T>
__device__ inline T *row_of(const qg_view &view, int64_t i)
{
  return static_cast<T *>(view.data) + i * view.stride;
}

__device__ inline float warp_sum(float x)
{
  for (int offset = WARP / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

__device__ inline double warp_sum(double x)
{
  for (int offset = WARP / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

__device__ inline int32_t warp_max(int32_t x)
{
  for (int offset = WARP / 2; offset > 0; offset /= 2) {
    int32_t other = __shfl_xor_sync(0xffffffffu, x, offset);
    x = other > x ? other : x;
  }
  return x;
}

__device__ inline int32_t warp_min(int32_t x)
{
  for (int offset = WARP / 2; offset > 0; offset /= 2) {
    int32_t other = __shfl_xor_sync(0xffffffffu, x, offset);
    x = other < x ? other : x;
  }
  return x;
}

/* Over a block of THREADS: every thread gets the sum. `parts` [WARPS] is shared memory, free again on return.
 */
template <typename T>
__device__ inline T block_sum(T x, T *parts)
{
  x = warp_sum(x);
  if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
  __syncthreads();
  T sum = 0;
  for (int w = 0; w < WARPS; w++) sum += parts[w];
  __syncthreads();
  return sum;
}

__device__ inline int32_t block_max(int32_t x, int32_t *parts)
{
  x = warp_max(x);
  if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
  __syncthreads();
  int32_t max = parts[0];
  for (int w = 1; w < WARPS; w++) max = parts[w] > max ? parts[w] : max;
  __syncthreads();
  return max;
}

/* The greatest by qg_float_key, so a NaN is never lost. */
__device__ inline float block_max(float x, int32_t *parts)
{
  return qg_float_from_key(block_max(qg_float_key(x), parts));
}

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

template <typename T>
__device__ inline void store_part(T *to, int count, const T *x)
{
  if (is_wide(to, count)) {
    copy_part(to, x);
    return;
  }
#pragma unroll
  for (int i = 0; i < PART; i++)
    if (i < count) to[i] = x[i];
}

__device__ inline void store_part(bf16 *to, int count, const float *x)
{
  alignas(WIDE) bf16 half[PART];
#pragma unroll
  for (int i = 0; i < PART; i++) put(&half[i], x[i]);
  store_part(to, count, static_cast<const bf16 *>(half));
}

/* Element-wise kernels: a block works on CHUNK neighbours of one row, each thread on CHUNK / THREADS of them.
 */
enum { CHUNK = 4 * THREADS };

static inline int64_t chunks_of(int64_t rows, int64_t cols)
{
  return rows * ((cols + CHUNK - 1) / CHUNK);
}

/* work(i, j) for the elements of this block. */
template <typename F>
__device__ inline void for_each_element(int64_t cols, F work)
{
  int64_t chunks = (cols + CHUNK - 1) / CHUNK;
  int64_t i = blockIdx.x / chunks, first = blockIdx.x % chunks * CHUNK + threadIdx.x;
#pragma unroll
  for (int k = 0; k < CHUNK; k += THREADS)
    if (first + k < cols) work(i, first + k);
}

/* What a block may take of shared memory without asking. */
enum { SHARED_ALWAYS = 48 << 10 };

/* Starts `blocks` blocks of `threads` with `shared` bytes of dynamic shared memory; none is no error. */
template <typename... Params, typename... Args>
inline cudaError_t launch_shared(cudaStream_t stream, int64_t blocks, int threads, int shared,
                                 void (*kernel)(Params...), Args... args)
{
  if (blocks <= 0) return cudaSuccess;
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  if (shared > SHARED_ALWAYS) {
    cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (error != cudaSuccess) return error;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, args...);
}

template <typename... Params, typename... Args>
inline cudaError_t launch(cudaStream_t stream, int64_t blocks, int threads, void (*kernel)(Params...),
                          Args... args)
{
  return launch_shared(stream, blocks, threads, 0, kernel, args...);
}

#endif
