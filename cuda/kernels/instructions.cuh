/* Instructions that CUDA C++ does not name, or that its compiler takes apart (PTX ISA, "st", "cvt"). The
 * emulation of tests/support/cudaemu puts its own file of this name in front. */
#ifndef QG_CUDA_INSTRUCTIONS_CUH
#define QG_CUDA_INSTRUCTIONS_CUH

#include "cuda/kernels/common.cuh"

/* One store to global memory, aligned to its size. */
__device__ inline void store_wide(void *to, uint2 bits)
{
  asm volatile("st.global.v2.b32 [%0], {%1, %2};" : : "l"(to), "r"(bits.x), "r"(bits.y) : "memory");
}

__device__ inline void store_wide(void *to, uint4 bits)
{
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};"
               :
               : "l"(to), "r"(bits.x), "r"(bits.y), "r"(bits.z), "r"(bits.w)
               : "memory");
}

/* Two neighbours, `low` first, rounded to nearest even as qg_bf16_from_float does it; but a NaN loses its
 * bits. For sm_80 and up. */
__device__ inline uint32_t pack(float low, float high)
{
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

#endif
