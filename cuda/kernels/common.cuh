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
#include "qgalore/numerics/bf16.h"
#include "qgalore/numerics/float_bits.h"

enum { WARP = 32, THREADS = 256, WARPS = THREADS / WARP };

/* Stored as the formats of qgalore/numerics define it. */
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

/* Over a block of N warps: every thread gets the sum. `parts` [N] is shared memory, free again on return. */
template <int N = WARPS, typename T>
__device__ inline T block_sum(T x, T *parts)
{
  x = warp_sum(x);
  if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
  __syncthreads();
  T sum = 0;
  for (int w = 0; w < N; w++) sum += parts[w];
  __syncthreads();
  return sum;
}

template <int N = WARPS>
__device__ inline int32_t block_max(int32_t x, int32_t *parts)
{
  x = warp_max(x);
  if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
  __syncthreads();
  int32_t max = parts[0];
  for (int w = 1; w < N; w++) max = parts[w] > max ? parts[w] : max;
  __syncthreads();
  return max;
}

/* The greatest by qg_float_key, so a NaN is never lost. */
template <int N = WARPS>
__device__ inline float block_max(float x, int32_t *parts)
{
  return qg_float_from_key(block_max<N>(qg_float_key(x), parts));
}

/* What a block may take of dynamic shared memory without asking: of 48 KB, as much as leaves room for a
 * kernel's static arrays, which count too. */
enum { SHARED_ALWAYS = 44 << 10 };

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
