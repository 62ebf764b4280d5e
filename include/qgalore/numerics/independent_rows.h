/* How much of a unit row lies at least outside of the rows before it, the least element of R's diagonal. With
 * its Gram matrix in double a pass leaves an error of about eps / least, eps of fp32 (Yamazaki, Tomov,
 * Dongarra, SIAM J. Sci. Comput. 37, 2015): from ONCE on that is enough, from COARSE on for a coarse basis,
 * and from TWICE on the next pass is the last and may be in single precision. What is not even WELL apart is
 * noise. The host and the devices decide by the same numbers. */
#ifndef QGALORE_NUMERICS_INDEPENDENT_ROWS_H
#define QGALORE_NUMERICS_INDEPENDENT_ROWS_H

#define QG_INDEPENDENT 1e-7
#define QG_INDEPENDENT_TWO_PASSES 1e-4
#define QG_INDEPENDENT_COARSE 1e-4
#define QG_INDEPENDENT_ONE_PASS 0.3

#endif
