/* The largest eigenpairs of a symmetric matrix: tridiagonal form (?sytrd), divide and conquer (?stedc), and
 * the back transformation (?ormtr) of the wanted vectors only. That last point is all that sets it apart from
 * ?syevd, and saves 40 % of its time for a quarter of the vectors. */
#ifndef QG_LINALG_EIGEN_H
#define QG_LINALG_EIGEN_H

#include <lapacke.h>

#include "linalg/scratch.h"
#include "qgalore/base/status.h"

/* Largest order whose LAPACK workspace, 1 + 4 d + d^2 elements, has a 32-bit length. */
enum { QG_EIGEN_MAX_ORDER = 46000 };

#define QG_EIGEN_DECLARE(suffix, real)                                                                 \
  typedef struct {                                                                                     \
    real *values;       /* [d] ascending */                                                            \
    real *off_diagonal; /* [d] */                                                                      \
    real *tau;          /* [d] */                                                                      \
    real *vectors;      /* [d, d], one vector a row */                                                 \
    real *work;         /* [work_count] */                                                             \
    lapack_int *iwork;  /* [iwork_count] */                                                            \
    lapack_int work_count, iwork_count;                                                                \
  } qg_eigen_##suffix;                                                                                 \
  void qg_eigen_##suffix##_lay_out(qg_scratch *scratch, int d, qg_eigen_##suffix *out);                \
  /* matrix [d, d]: the upper triangle of the row-major matrix is read, all is overwritten. Afterwards \
   * the last `rank` rows of `vectors` and the last `rank` of `values` are the wanted pairs. The input \
   * must be finite. QG_ERR_NUMERICAL: no convergence. */                                              \
  qg_status qg_eigen_##suffix##_top(int d, int rank, real *matrix, qg_eigen_##suffix *eigen)

QG_EIGEN_DECLARE(f32, float);
QG_EIGEN_DECLARE(f64, double);

#endif
