/* Exact subspaces of gradients whose spectrum falls steeply, without an eigenproblem of the whole short side:
 * block power steps from a random start until nothing is left to find. */
#ifndef QG_LINALG_COMPLETE_H
#define QG_LINALG_COMPLETE_H

#include "linalg/block_product.h"

size_t qg_complete_bytes(int d, int length, int rank, qg_product_plan products);

/* Publishes the result, or leaves the job's arrays unchanged with *complete false: the eigenproblem is due.
 * `scratch` holds qg_complete_bytes. The problem must fit fp32 and not be zero. */
qg_status qg_complete_solve(const qg_problem *problem, qg_product_plan products, qg_scratch scratch,
                            qg_subspace_job *job, bool *complete);

#endif
