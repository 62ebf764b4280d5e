/* What the libraries' handles hold. */
#ifndef CUDAEMU_HANDLES_H
#define CUDAEMU_HANDLES_H

#include "cusolverDn.h"

struct cublasContext {
  cudaStream_t stream;
};

struct cusolverDnContext {
  cudaStream_t stream;
};

#endif
