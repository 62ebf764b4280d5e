/* Stand-in for CUDA C++ as the kernels use it: one fiber a thread, blocks one after the other (fibers.h).
 * One-dimensional grids and blocks, shared memory, full-warp shuffles and ballots. Warps of fewer than 32
 * threads and blocks that run at the same time are not covered. Tensor cores: cuda/kernels/tensor_core.cuh.
 */
#ifndef CUDAEMU_CUDA_RUNTIME_H
#define CUDAEMU_CUDA_RUNTIME_H

#include <math.h>
#include <cstdint>
#include <cstring>
#include <tuple>

#include "counts.h"
#include "cuda_runtime_api.h"
#include "fibers.h"
#include "shared.h"
#include "streams.h"

#define __global__ static
#define __device__
#define __host__
#define __shared__ static __attribute__((section("cudaemu_static")))
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1) : x(x), y(1), z(1) {}
};

/* What the running fiber sees. */
inline cudaemu::index &threadIdx = cudaemu::position.thread;
inline cudaemu::index &blockIdx = cudaemu::position.block;
inline cudaemu::index &gridDim = cudaemu::position.grid;

static inline void __syncthreads()
{
  cudaemu::wait_for_block();
}

static inline void __syncwarp(unsigned = 0xffffffffu)
{
  cudaemu::wait_for_warp();
}

template <typename T>
static inline T __shfl_xor_sync(unsigned, T x, int mask)
{
  uint64_t bits = 0;
  memcpy(&bits, &x, sizeof x);
  bits = cudaemu::exchange(bits).of_lane[(threadIdx.x % 32) ^ static_cast<unsigned>(mask)];
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline unsigned __ballot_sync(unsigned, bool vote)
{
  const cudaemu::lanes &votes = cudaemu::exchange(vote);
  unsigned mask = 0;
  for (unsigned lane = 0; lane < 32; lane++) mask |= static_cast<unsigned>(votes.of_lane[lane]) << lane;
  return mask;
}

struct alignas(8) uint2 {
  unsigned x, y;
};

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

/* One store to global memory. */
template <typename T>
static inline void __stwb(T *to, T value)
{
  cudaemu::check_global_store(to, sizeof value);
  *to = value;
}

static inline int __popc(unsigned x)
{
  return __builtin_popcount(x);
}

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

namespace cudaemu {
/* Whether this launch is the one that a test wants to fail. */
bool launch_fails();
}  // namespace cudaemu

template <typename... Params, typename... Args>
static inline cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(Params...),
                                             Args &&...args)
{
  size_t shared = config->dynamicSmemBytes;
  if (config->blockDim.x % 32 != 0) return cudaErrorInvalidConfiguration;
  if (!cudaemu::shared_is_allowed(reinterpret_cast<const void *>(kernel), shared))
    return cudaErrorInvalidValue;
  if (cudaemu::launch_fails()) return cudaErrorLaunchFailure;
  cudaemu_counted.launches++;
  cudaemu::queue(config->stream, [blocks = config->gridDim.x, threads = config->blockDim.x, shared, kernel,
                                  values = std::tuple<Params...>(static_cast<Params>(args)...)] {
    cudaemu::resize_shared(shared);
    cudaemu::run(blocks, threads, [&] { std::apply(kernel, values); });
  });
  return cudaSuccess;
}

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

template <typename... Params>
static inline cudaError_t cudaFuncSetAttribute(void (*kernel)(Params...), cudaFuncAttribute, int value)
{
  bool done = cudaemu::allow_shared(reinterpret_cast<const void *>(kernel), static_cast<size_t>(value));
  return done ? cudaSuccess : cudaErrorInvalidValue;
}

struct cudaFuncAttributes {
  int ptxVersion, binaryVersion;
};

extern "C" cudaError_t cudaemu_function_attributes(cudaFuncAttributes *attributes);

template <typename... Params>
static inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, void (*)(Params...))
{
  return cudaemu_function_attributes(attributes);
}

#endif
