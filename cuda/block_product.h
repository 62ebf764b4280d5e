/* The product of the block with H = G^T G or G G^T, in two halves. */
#ifndef QG_CUDA_BLOCK_PRODUCT_H
#define QG_CUDA_BLOCK_PRODUCT_H

#include "cuda/subspace_problem.h"

/* image = block G^T (right) or block G (left), and its energy tr(block H block^T) =
 * ||image||_F^2; `whole`: of the block itself, not of its rounded vectors. */
qg_status qg_cuda_begin_product(qg_backend *be, const qg_cuda_problem *p, bool whole);
/* block = block H, after the first half. */
qg_status qg_cuda_finish_product(qg_backend *be, const qg_cuda_problem *p);

#endif
