/* Stand-in for the file of this name in cuda/kernels. */
#ifndef QG_CUDA_INSTRUCTIONS_CUH
#define QG_CUDA_INSTRUCTIONS_CUH

#include "cuda/kernels/common.cuh"
#include "shared.h"

template <typename T>
static inline void store_wide(void *to, T bits)
{
  cudaemu::check_global_store(to, sizeof bits);
  memcpy(to, &bits, sizeof bits);
}

static inline uint16_t round_like_a_device(float x)
{
  return x == x ? qg_bf16_from_float(x) : uint16_t(0x7fff);
}

static inline uint32_t pack(float low, float high)
{
  return round_like_a_device(low) | static_cast<uint32_t>(round_like_a_device(high)) << 16;
}

#endif
