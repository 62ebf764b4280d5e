/* Matrices with known singular values, and measures of subspaces in double precision. */
#ifndef QG_TESTS_KNOWN_SPECTRUM_H
#define QG_TESTS_KNOWN_SPECTRUM_H

#include <stdint.h>

#include "qgalore/linalg.h"

/* out [m, n] = U diag(s) V^T with random orthonormal U and V; s [min(m, n)]. */
void spectrum_matrix(int64_t m, int64_t n, const double *s, uint64_t seed, float *out);

/* Singular values (dgesdd, of the transpose) of a matrix, descending; s [min(m, n)]. */
void spectrum_singular_values(int64_t m, int64_t n, const float *matrix, double *s);

/* The largest share of sum s_i^2 that `rank` directions can hold. */
double spectrum_optimal_energy(int64_t count, int64_t rank, const double *s);

/* The share that the orthonormal `basis`, in projector layout, holds. */
double spectrum_energy(const qg_subspace_job *job, const float *basis);

/* ||P P^T - I||_max of a basis in projector layout; NaN counts as infinite. */
double spectrum_orthonormal_error(const qg_subspace_job *job, const float *basis);

#endif
