/* A subspace problem and the memory that it is solved in. */
#ifndef QG_CUDA_SUBSPACE_PROBLEM_H
#define QG_CUDA_SUBSPACE_PROBLEM_H

#include "cuda/cuda_backend.h"

enum { QG_CUDA_OVERSAMPLING = 16 }; /* random vectors beyond the rank */

/* The last vectors of a warm block, of which an eigenproblem chooses the best: the random ones and the
 * weakest of the old. Compared with an eigenproblem of the whole block that loses 1e-4 of the energy, where
 * the random ones bring 1e-3, and saves most of the work, whose small steps do not fill a device. */
enum { QG_CUDA_CANDIDATES = 256 };

/* What the device computes for the host's decisions, read in one copy. */
typedef struct {
  double norm2;  /* ||gradient||_F^2 */
  double scale;  /* ||block||_F^2 at its start */
  double energy; /* of the last image */
  float least_diagonal;
  int info;                                 /* of the last call of cuSOLVER */
  float least_values[QG_CUDA_OVERSAMPLING]; /* eigenvalues, ascending: the first of the device's [order] */
} qg_cuda_subspace_stats;

/* H = G^T G (right) or G G^T (left) is [d, d]. Device memory but for the sizes. */
typedef struct {
  qg_view gradient;
  bool left;
  int64_t d, length, rank, count; /* count: vectors of the block */
  double norm2;                   /* ||gradient||_F^2, once it was read */
  float *block;                   /* POWER: [count, d] */
  float *image;      /* POWER: [count, length], block G^T or block G; SVD: [d, length], G or G^T */
  float *matrix;     /* POWER: [count, count]; GRAM: the Gram matrix [d, d]; SVD: V^T [d, d] */
  float *rows;       /* POWER: [count, d]; SVD: V [d, d] */
  double *gram;      /* POWER: [count, count], in place of rows */
  uint16_t *rounded; /* POWER, products in bf16, else NULL: a slice of the gradient */
  int64_t slice;     /* of the long side: elements that products take at a time */
  float *eigenvalues, *tau;
  qg_cuda_subspace_stats *stats;
  void *work, *host_work;
  size_t work_bytes, host_bytes;
} qg_cuda_problem;

/* Gives every array its place in `memory` (NULL: only sizes) and asks cuSOLVER what it wants; *bytes is all
 * of it. */
qg_status qg_cuda_lay_out(qg_backend *be, int64_t m, int64_t n, int64_t rank, qg_device_solver solver,
                          char *memory, qg_cuda_problem *p, size_t *bytes);

/* A matrix of the problem, for products. */
static inline qg_view qg_cuda_matrix(float *data, int64_t rows, int64_t cols)
{
  return qg_view_make(data, QG_F32, rows, cols);
}

/* Statistics of what was queued until now; waits for it. */
qg_status qg_cuda_fetch_stats(qg_backend *be, const qg_cuda_problem *p, qg_cuda_subspace_stats *out);

/* Whether fp32 can hold squares of the gradient and of what came of it. */
bool qg_cuda_is_usable(const qg_cuda_subspace_stats *stats);

#endif
