/* Matrix fragments and products on the tensor cores of sm_80 and up, for which CUDA C++ has no name (PTX ISA,
 * "Warp-level matrix instructions"). The emulation of tests/support/cudaemu puts its own file of this name in
 * front.
 *
 * A warp holds the 16 x 16 operand A, the 16 x 8 operand B and the 16 x 8 sum C in pieces. With g = lane / 4
 * and t = 2 (lane % 4): A: registers of two neighbours (row, column): (g, t), (g + 8, t), (g, t + 8), (g + 8,
 * t + 8) B: two neighbours of one column:              (t, g), (t + 8, g) C: floats (g, t), (g, t + 1), (g +
 * 8, t), (g + 8, t + 1) */
#ifndef QG_CUDA_TENSOR_CORE_CUH
#define QG_CUDA_TENSOR_CORE_CUH

#include "cuda/kernels/instructions.cuh"
#include "cuda/kernels/shared.cuh"

/* Four 8 x 8 matrices: the lanes 8 i to 8 i + 7 give the addresses of the rows of matrix i, each of 16 bytes
 * and aligned to them. Register i of lane l gets elements t, t + 1 of row g of matrix i. */
__device__ inline void load_matrices(uint32_t (&to)[4], const bf16 *row)
{
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}

/* The same with each matrix transposed: rows t, t + 1 of column g. */
__device__ inline void load_transposed(uint32_t (&to)[4], const bf16 *row)
{
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}

/* C += A B; products are exact, sums fp32. */
__device__ inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#endif
