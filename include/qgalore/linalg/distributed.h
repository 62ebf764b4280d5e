/* One subspace by all ranks together, for a matrix that one rank should not factor alone.
 *
 * The Gram matrix H of the short side lies block-cyclically over a grid of all ranks of the job, and
 * ScaLAPACK finds its eigenvectors in single precision. What every rank holds is about (m n + 4 d^2) / ranks
 * floats, d = min(m, n), and on the owner the result. Within one node this never beats the exact route of
 * linalg.h. */
#ifndef QGALORE_LINALG_DISTRIBUTED_H
#define QGALORE_LINALG_DISTRIBUTED_H

#include "qgalore/linalg.h"
#include "qgalore/par.h"

/* Scratch bytes of rank `rank` of `size` for a job of m x n and rank `subspace_rank`. QG_ERR_INPUT names what does not fit
 * ScaLAPACK's 32-bit integers on this many ranks. Local, pure. */
qg_status qg_subspace_distributed_workspace(int rank, int size, bool is_owner, int64_t m, int64_t n, int64_t subspace_rank,
                                            size_t *bytes);

/* All ranks pass the same m, n, rank and owner; `gradient`, `basis` and `singular_values` are looked at on
 * the owner alone, `previous` and `seed` nowhere. The owner's job gets the result of the exact route, signs
 * as there. All ranks return the same status, which is job->status too: QG_ERR_NUMERICAL for a gradient that
 * is not finite or a spectrum that does not converge, QG_ERR_INPUT for shapes out of range, QG_ERR_RUNTIME
 * for broken promises (different shapes, too little workspace). On failure the owner's arrays are unchanged.
 * Collective. */
qg_status qg_subspace_solve_distributed(qg_par *par, int owner, qg_subspace_job *job, void *workspace,
                                        size_t workspace_bytes);

#endif
