/* Gradients whose subspaces are wanted, from a file or made up, for benches. Out of memory or a bad file ends
 * the program. */
#ifndef QG_TESTS_GRADIENT_SET_H
#define QG_TESTS_GRADIENT_SET_H

#include "qgalore/backend.h"
#include "qgalore/linalg.h"

enum { GRADIENT_SET_MAX = 4096, GRADIENT_SET_RANK = 128 };

typedef struct {
  int count;
  qg_subspace_job jobs[GRADIENT_SET_MAX];
  const float *start[GRADIENT_SET_MAX], *int4_start[GRADIENT_SET_MAX];
  double exact_energy[GRADIENT_SET_MAX];
} gradient_set;

void *gradient_set_alloc(size_t bytes);

/* The shapes of a LLaMA-60M with a spectrum like that of real gradients; `drifted`: each mixed with another
 * one. */
void gradient_set_make_llama_60m(gradient_set *s, bool drifted);
/* Records of int64 m, int64 n, then m * n fp32 values in row-major order, native byte order. */
void gradient_set_read(const char *path, gradient_set *s);

/* A basis of `count` components as an INT4 projector gives it back; new memory. */
float *basis_through_int4(qg_backend *be, const float *basis, int64_t count);
/* The share of a gradient's energy that a basis holds. */
double basis_energy(const qg_subspace_job *job, const float *basis);

#endif
