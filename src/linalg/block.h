/* A block of orthonormal vectors that products with H turn towards its largest eigenvectors: orthogonal
 * iteration with Rayleigh-Ritz (Halko, Martinsson, Tropp, SIAM Review 53, 2011, algorithms 4.4 and 5.3).
 *
 * Vectors whose Ritz pair is as good as needed can be settled: they rest at the end of the block, and only
 * the `active` ones before them go on, orthogonal to them (locking: Saad, Numerical Methods for Large
 * Eigenvalue Problems, 2011, section 5.3). That saves their products, and leaves H restricted to the active
 * ones, whose small eigenvalues no longer drown in the rounding of the large. */
#ifndef QG_LINALG_BLOCK_H
#define QG_LINALG_BLOCK_H

#include "linalg/block_product.h"
#include "linalg/eigen.h"
#include "linalg/orthonormal.h"

typedef struct {
  const qg_problem *problem;
  int count;             /* c = qg_subspace_directions */
  int active;            /* the first of them that go on */
  float *rows;           /* [c, d] */
  float *spare;          /* [c, d] */
  double *values;        /* [c] Ritz values, ascending, after qg_block_ritz */
  double settled_energy; /* of the others */
  double damped;         /* eigenvalues of H up to here are not wanted; 0: none is known */
  int damped_steps;      /* since then; with rows before the last one in `spare` */
  float *ritz;           /* [c, c] */
  qg_block_product product;
  qg_cholesky cholesky;
  qg_orthonormal householder; /* where Cholesky finds rows that depend on others */
  qg_eigen_f32 eigen;
} qg_block;

void qg_block_lay_out(qg_scratch *scratch, int d, int length, int rank, qg_product_plan plan, qg_block *out);

/* The old basis, if there is one, and random rows: a pure function of `seed`. They may be far from
 * orthonormal: returns ||V||_F^2 / c, the factor by which their energy exceeds that of unit rows. */
double qg_block_start(qg_block *block, const qg_problem *problem, const float *previous, uint64_t seed);

/* First half of a product with H. *energy = tr(V H V^T) of the whole block. QG_ERR_NUMERICAL if it is not
 * finite.
 */
qg_status qg_block_measure(qg_block *block, qg_product_grade grade, double *energy);

/* After a measure: rows <- orthonormal basis of rows H, or of the next Chebyshev polynomial. COARSE: to 1e-2.
 */
qg_status qg_block_step(qg_block *block, qg_product_grade grade);

/* After a measure: turns the active rows into Ritz vectors, ascending. *energy of the largest `rank` of the
 * whole block. A step may follow at once: it goes on from the rows before, which span the same. */
qg_status qg_block_ritz(qg_block *block, double *energy);

/* After qg_block_ritz: the largest `count` active rows rest from here on, and the steps of the others are
 * those of Chebyshev's polynomials for the interval of eigenvalues from 0 to the smallest Ritz value, which
 * the block holds down so (Saad, section 7.4; in block form with every step orthonormalised). */
void qg_block_settle(qg_block *block, int count);

/* The largest `rank` vectors become the job's result; the block is used up. */
qg_status qg_block_publish(qg_block *block, qg_subspace_method used, qg_subspace_job *job);

#endif
