/* One subspace problem, with the two sides of the projector folded into one view.
 *
 * A basis under work is always [k, d] fp32 row-major, one vector a row, d = min(m, n). To LAPACK's
 * column-major eyes that is a d x k matrix with one vector a column, so both BLAS and LAPACK use it
 * as it lies. H = G^T G (right side) or G G^T (left side) is [d, d]; its eigenvectors are wanted. */
#ifndef QG_LINALG_PROJECTION_PROBLEM_H
#define QG_LINALG_PROJECTION_PROBLEM_H

#include "linalg/scratch.h"
#include "qgalore/linalg.h"

typedef struct {
  qg_side side;
  int d;      /* the short side: elements of a basis vector */
  int length; /* the long side */
  int rank;
  const float *gradient; /* [m, n], leading dimension `stride`; NULL: only the implicit one is there */
  int stride;            /* n */
  const qg_implicit_gradient *implicit;
  double norm2;   /* ||G||_F^2 */
  double largest; /* max |g_ij|; of an implicit gradient its root mean square */
} qg_projection_problem;

/* Reads the gradient once. QG_ERR_NUMERICAL if it holds a NaN or an infinity. `scratch` is used up to
 * qg_projection_problem_bytes and free again afterwards. */
qg_status qg_projection_problem_open(const qg_subspace_job *job, qg_scratch scratch,
                                     qg_projection_problem *out);
size_t qg_projection_problem_bytes(const qg_subspace_job *job);

/* Whether fp32 holds the squares of the entries and their sums. Where not, only the exact route in double
 * precision is good. */
bool qg_projection_problem_fits_f32(const qg_projection_problem *problem);

/* The old basis as rows [rank, d]. */
void qg_projection_problem_load_basis(const qg_projection_problem *problem, const float *basis, float *rows);

/* Writes the result into the job. `rows` [rank, d] and `eigenvalues` [rank] of H ascend, as LAPACK gives
 * them; `rows` is overwritten. The largest component of every vector is made positive, so that equal
 * subspaces with distinct singular values give equal bases. QG_ERR_NUMERICAL leaves the job's arrays
 * unchanged. */
qg_status qg_projection_problem_publish(const qg_projection_problem *problem, float *rows,
                                        const double *eigenvalues, qg_subspace_method used,
                                        qg_subspace_job *job);

/* The answer for G = 0, where every basis is as good: unit vectors. */
void qg_projection_problem_publish_zero(const qg_projection_problem *problem, qg_subspace_job *job);

#endif
