/* Stand-in for the file of this name in cuda/kernels, with the same layouts of fragments. */
#ifndef QG_CUDA_TENSOR_CORE_CUH
#define QG_CUDA_TENSOR_CORE_CUH

#include "cuda/kernels/instructions.cuh"
#include "cuda/kernels/shared.cuh"
#include "tensor_core.h"

static inline void load_matrices(uint32_t (&to)[4], const bf16 *row)
{
  cudaemu::load_matrices(to, row, false);
}

static inline void load_transposed(uint32_t (&to)[4], const bf16 *row)
{
  cudaemu::load_matrices(to, row, true);
}

static inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
  cudaemu::multiply_add(c, a, b0, b1);
}

#endif
