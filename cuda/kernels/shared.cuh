/* Dynamic shared memory, and copies into it that run during the arithmetic on sm_80 and up (PTX ISA,
 * "Asynchronous copy"). The emulation of tests/support/cudaemu puts its own file of this name in front. */
#ifndef QG_CUDA_SHARED_CUH
#define QG_CUDA_SHARED_CUH

#include "cuda/kernels/common.cuh"

/* What the launch asked for, aligned to 16 bytes. */
__device__ inline char *shared_memory()
{
  extern __shared__ __align__(16) char memory[];
  return memory;
}

__device__ inline uint32_t shared_address(const void *at)
{
  return static_cast<uint32_t>(__cvta_generic_to_shared(at));
}

/* Begins to copy 16 bytes, or zeros where there is nothing to copy; `from` is a valid address either way. */
__device__ inline void copy_async(bf16 *shared, const bf16 *from, bool exists)
{
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(shared_address(shared)), "l"(from), "r"(exists ? 16 : 0)
               : "memory");
}

/* Ends a group of this thread's copies, which may be empty. */
__device__ inline void commit_copies()
{
  asm volatile("cp.async.commit_group;" : : : "memory");
}

/* Until all of this thread's groups but the last LEFT have arrived. Other threads see them after a barrier.
 */
template <int LEFT>
__device__ inline void wait_for_copies()
{
  asm volatile("cp.async.wait_group %0;" : : "n"(LEFT) : "memory");
}

#endif
