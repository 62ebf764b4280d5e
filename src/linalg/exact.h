/* The exact subspace: the top eigenvectors of H, in double precision where single precision would lose them.
 */
#ifndef QG_LINALG_EXACT_H
#define QG_LINALG_EXACT_H

#include "linalg/projection_problem.h"
#include "linalg/scratch.h"

size_t qg_exact_bytes(int d, int rank);

/* `scratch` holds qg_exact_bytes. QG_ERR_NUMERICAL: no convergence, the job's arrays are unchanged. */
qg_status qg_exact_solve(const qg_projection_problem *problem, qg_scratch scratch, qg_subspace_job *job);

#endif
