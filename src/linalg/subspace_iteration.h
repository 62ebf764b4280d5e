/* A block of orthonormal vectors that products with H turn towards its largest eigenvectors: orthogonal
 * iteration with Rayleigh-Ritz (Halko, Martinsson, Tropp, SIAM Review 53, 2011, algorithms 4.4 and 5.3).
 *
 * Vectors whose Ritz pair is as good as needed can be settled: they rest at the end of the block, and only
 * the `active` ones before them go on, orthogonal to them (locking: Saad, Numerical Methods for Large
 * Eigenvalue Problems, 2011, section 5.3). That saves their products, and leaves H restricted to the active
 * ones, whose small eigenvalues no longer drown in the rounding of the large. */
#ifndef QG_LINALG_SUBSPACE_ITERATION_H
#define QG_LINALG_SUBSPACE_ITERATION_H

#include "linalg/eigen.h"
#include "linalg/gram_product.h"
#include "linalg/orthonormal.h"

typedef struct {
  const qg_projection_problem *problem;
  int count;             /* c = qg_subspace_directions */
  int active;            /* the first of them that go on */
  float *rows;           /* [c, d] */
  float *spare;          /* [c, d] */
  double *values;        /* [c] Ritz values, ascending, after qg_subspace_iteration_ritz */
  double settled_energy; /* of the others */
  double damped;         /* eigenvalues of H up to here are not wanted; 0: none is known */
  int damped_steps;      /* since then; with rows before the last one in `spare` */
  float *ritz;           /* [c, c] */
  qg_gram_product product;
  qg_cholesky cholesky;
  qg_orthonormal householder; /* where Cholesky finds rows that depend on others */
  qg_eigen_f32 eigen;
} qg_subspace_iteration;

void qg_subspace_iteration_lay_out(qg_scratch *scratch, int d, int length, int rank,
                                   qg_product_options options, qg_subspace_iteration *out);

/* The old basis, if there is one, and random rows: a pure function of `seed`. They may be far from
 * orthonormal: returns ||V||_F^2 / c, the factor by which their energy exceeds that of unit rows. */
double qg_subspace_iteration_start(qg_subspace_iteration *iteration, const qg_projection_problem *problem,
                                   const float *previous, uint64_t seed);

/* First half of a product with H. *energy = tr(V H V^T) of the whole iteration. QG_ERR_NUMERICAL if it is not
 * finite.
 */
qg_status qg_subspace_iteration_measure(qg_subspace_iteration *iteration, qg_product_grade grade,
                                        double *energy);

/* After a measure: rows <- orthonormal basis of rows H, or of the next Chebyshev polynomial. COARSE: to 1e-2.
 */
qg_status qg_subspace_iteration_step(qg_subspace_iteration *iteration, qg_product_grade grade);

/* After a measure: turns the active rows into Ritz vectors, ascending. *energy of the largest `rank` of the
 * whole iteration. A step may follow at once: it goes on from the rows before, which span the same. */
qg_status qg_subspace_iteration_ritz(qg_subspace_iteration *iteration, double *energy);

/* After qg_subspace_iteration_ritz: the largest `count` active rows rest from here on, and the steps of the
 * others are those of Chebyshev's polynomials for the interval of eigenvalues from 0 to the smallest Ritz
 * value, which the block holds down so (Saad, section 7.4; in block form with every step orthonormalised). */
void qg_subspace_iteration_settle(qg_subspace_iteration *iteration, int count);

/* The largest `rank` vectors become the job's result; the block is used up. */
qg_status qg_subspace_iteration_publish(qg_subspace_iteration *iteration, qg_subspace_method used,
                                        qg_subspace_job *job);

#endif
