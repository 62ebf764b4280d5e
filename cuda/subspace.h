/* A subspace problem and the memory that it is solved in. */
#ifndef QG_CUDA_SUBSPACE_H
#define QG_CUDA_SUBSPACE_H

#include "cuda/cuda_backend.h"

/* H = G^T G (right) or G G^T (left) is [d, d]. Device memory but for the sizes. */
typedef struct {
  qg_view gradient;
  bool left;
  int64_t d, length, rank, count; /* count: vectors of the block */
  double norm2;
  float *block;  /* POWER: [count, d] */
  float *image;  /* POWER: [count, length], block G^T or block G; SVD: [d, length], G or G^T */
  float *matrix; /* POWER: [count, count]; GRAM: the Gram matrix [d, d]; SVD: V^T [d, d] */
  float *rows;   /* POWER: [count, d]; SVD: V [d, d] */
  float *eigenvalues, *tau;
  double *sum;
  int *info;
  void *work, *host_work;
  size_t work_bytes, host_bytes;
} qg_cuda_problem;

/* Gives every array its place in `memory` (NULL: only sizes) and asks cuSOLVER what it wants; *bytes is all
 * of it. */
qg_status qg_cuda_lay_out(qg_backend *be, int64_t m, int64_t n, int64_t rank, qg_device_solver solver,
                          char *memory, qg_cuda_problem *p, size_t *bytes);

#endif
