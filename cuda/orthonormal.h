/* Orthonormal rows of the block. */
#ifndef QG_CUDA_ORTHONORMAL_H
#define QG_CUDA_ORTHONORMAL_H

#include "cuda/subspace_problem.h"

/* block <- an orthonormal basis of a space that holds its rows, by Cholesky's factor of its Gram matrix in
 * double where the rows are independent (qgalore/numerics/independent_rows.h), else by Householder's
 * reflections. The image is used up. *stats is what the device found until then; where it is not usable the
 * block is undefined. */
qg_status qg_cuda_orthonormalise(qg_backend *be, const qg_cuda_problem *p, qg_cuda_subspace_stats *stats);

#endif
