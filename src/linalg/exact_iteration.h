/* Exact subspaces of gradients whose spectrum falls steeply, without an eigenproblem of the whole short side:
 * block power steps from a random start until nothing is left to find. */
#ifndef QG_LINALG_EXACT_ITERATION_H
#define QG_LINALG_EXACT_ITERATION_H

#include "linalg/gram_product.h"

size_t qg_exact_iteration_bytes(int d, int length, int rank, qg_product_options products);

/* Publishes the result, or leaves the job's arrays unchanged with *converged false: the eigenproblem is due.
 * `scratch` holds qg_exact_iteration_bytes. The problem must fit fp32 and not be zero. */
qg_status qg_exact_iteration_solve(const qg_projection_problem *problem, qg_product_options products,
                                   qg_scratch scratch, qg_subspace_job *job, bool *converged);

#endif
