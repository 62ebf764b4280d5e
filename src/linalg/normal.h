/* Reproducible Gaussian test matrices. */
#ifndef QG_LINALG_NORMAL_H
#define QG_LINALG_NORMAL_H

#include <stdint.h>

/* x[i] ~ N(0, 1), a pure function of (seed, i): Philox with Box and Muller's transform. */
void qg_normal_fill(uint64_t seed, int64_t count, float *x);

#endif
