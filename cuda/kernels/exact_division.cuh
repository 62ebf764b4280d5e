/* Division of many numbers by one, with the bits of the division for half of its instructions. */
#ifndef QG_CUDA_EXACT_DIVISION_CUH
#define QG_CUDA_EXACT_DIVISION_CUH

#include "cuda/kernels/vectorized.cuh"

/* q = x / divisor; `bounded`: no |x| is greater than 256 divisor. The reciprocal's error is taken back twice
 * (Markstein, IBM J. Res. Dev. 34, 1990), as the CPU does it (backend/cpu/isa/table_lookup.h), where the
 * divisor lies so that nothing underflows on the way: only quotients that are nearly 0 are then known by
 * their sign alone, which decides their codes. Elsewhere by division. */
__device__ inline void divide_part(const float *x, float divisor, bool bounded, float *q)
{
  if (!(bounded && divisor >= 0x1p-76f && divisor <= 1.0f)) {
#pragma unroll
    for (int i = 0; i < PART; i++) q[i] = x[i] / divisor;
    return;
  }
  float reciprocal = 1.0f / divisor;
#pragma unroll
  for (int i = 0; i < PART; i++) {
    q[i] = x[i] * reciprocal;
    q[i] = fmaf(fmaf(-q[i], divisor, x[i]), reciprocal, q[i]);
    q[i] = fmaf(fmaf(-q[i], divisor, x[i]), reciprocal, q[i]);
  }
}

#endif
