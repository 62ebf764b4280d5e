/* Gradients whose subspaces are wanted, from a file or made up, for benches. Out of memory or a bad file ends
 * the program. */
#ifndef QG_TESTS_SUBSPACE_SUITE_H
#define QG_TESTS_SUBSPACE_SUITE_H

#include "qgalore/backend.h"
#include "qgalore/linalg.h"

enum { SUITE_MAX_MATRICES = 4096, SUITE_RANK = 128 };

typedef struct {
  int count;
  qg_subspace_job jobs[SUITE_MAX_MATRICES];
  const float *start[SUITE_MAX_MATRICES], *int4_start[SUITE_MAX_MATRICES];
  double exact_energy[SUITE_MAX_MATRICES];
} subspace_suite;

void *suite_take(size_t bytes);

/* The shapes of a LLaMA-60M with a spectrum like that of real gradients; `drifted`: each mixed with another
 * one. */
void suite_make_llama_60m(subspace_suite *s, bool drifted);
/* Records of int64 m, int64 n, then m * n fp32 values in row-major order, native byte order. */
void suite_read(const char *path, subspace_suite *s);

/* A basis of `count` components as an INT4 projector gives it back; new memory. */
float *suite_through_int4(qg_backend *be, const float *basis, int64_t count);
/* The share of a gradient's energy that a basis holds. */
double suite_energy_of(const qg_subspace_job *job, const float *basis);

#endif
