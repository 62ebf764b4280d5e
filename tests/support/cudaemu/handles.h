/* What the libraries' handles hold. */
#ifndef CUDAEMU_HANDLES_H
#define CUDAEMU_HANDLES_H

#include "cublas_v2.h"
#include "cusolverDn.h"

struct cublasContext {
  cudaStream_t stream;
  cublasMath_t math;
};

struct cusolverDnContext {
  cudaStream_t stream;
};

#endif
