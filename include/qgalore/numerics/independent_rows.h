/* How independent unit rows are: the least element of the diagonal of R with R^T R = their Gram matrix, which is the part of a
 * row outside the span of the rows before it. A pass of Cholesky QR with the Gram matrix in double leaves an error of about
 * eps / least, eps of fp32 (Yamazaki, Tomov, Dongarra, SIAM J. Sci. Comput. 37, 2015). The host and the devices decide by the
 * same numbers. */
#ifndef QGALORE_NUMERICS_INDEPENDENT_ROWS_H
#define QGALORE_NUMERICS_INDEPENDENT_ROWS_H

#define QG_INDEPENDENT 1e-7            /* less is noise: the rows depend on each other */
#define QG_INDEPENDENT_TWO_PASSES 1e-4 /* the next pass is the last, and may be in single precision */
#define QG_INDEPENDENT_COARSE 1e-4     /* this pass is the last for a coarse basis */
#define QG_INDEPENDENT_ONE_PASS 0.3    /* this pass is the last */

#endif
