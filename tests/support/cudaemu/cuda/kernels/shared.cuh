/* Stand-in for the file of this name in cuda/kernels. */
#ifndef QG_CUDA_SHARED_CUH
#define QG_CUDA_SHARED_CUH

#include "cuda/kernels/common.cuh"
#include "shared.h"

static inline char *shared_memory()
{
  return cudaemu::dynamic_shared;
}

static inline void copy_async(bf16 *shared, const bf16 *from, bool exists)
{
  cudaemu::copy_async(shared, from, exists);
}

static inline void commit_copies()
{
  cudaemu::commit_copies();
}

template <int LEFT>
static inline void wait_for_copies()
{
  cudaemu::wait_for_copies(LEFT);
}

#endif
