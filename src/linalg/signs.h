/* Reproducible random test matrices. */
#ifndef QG_LINALG_SIGNS_H
#define QG_LINALG_SIGNS_H

#include <stdint.h>

/* x[i] = magnitude or -magnitude with equal probability, a pure function of (seed, i). For a block power
 * iteration random signs are as good a start as Gaussian numbers and take a bit each (Achlioptas, J. Comput.
 * Syst. Sci. 66, 2003). */
void qg_sign_fill(uint64_t seed, float magnitude, int64_t count, float *x);

#endif
