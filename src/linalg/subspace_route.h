/* The routes from one gradient to its subspace: which is tried first, and which when that fails. */
#ifndef QG_LINALG_SUBSPACE_ROUTE_H
#define QG_LINALG_SUBSPACE_ROUTE_H

#include "linalg/scratch.h"
#include "qgalore/linalg.h"

/* Whether a matrix of this shape gets all threads. */
bool qg_subspace_is_wide(const qg_subspace_job *job);

/* What qg_subspace_solve promises to refuse; `index` of the job for the message. */
qg_status qg_subspace_check_job(qg_subspace_method method, const qg_subspace_job *job, int index);

/* Scratch of the most expensive route that may be tried. */
size_t qg_subspace_job_bytes(const qg_subspace_options *options, const qg_subspace_job *job);

/* `scratch` holds qg_subspace_job_bytes. */
qg_status qg_subspace_solve_job(const qg_subspace_options *options, qg_subspace_job *job, qg_scratch scratch);

#endif
