/* Kernels of the host's processor without a backend: for what runs on the host whatever the device is, several threads side
 * by side, each with its own scratch. The instruction set is the one in use by the CPU backend. All local; nothing is
 * allocated. */
#ifndef QGALORE_BACKEND_HOST_H
#define QGALORE_BACKEND_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qgalore/backend.h"
#include "qgalore/numerics/philox.h"

/* How fast products of bf16 with fp32 sums are, compared with those of fp32. */
typedef enum {
  QG_HOST_BF16_NONE,   /* there are none */
  QG_HOST_BF16_FASTER, /* about twice as fast (AVX512-BF16) */
  QG_HOST_BF16_FAR     /* three of them are faster than one of fp32 (AMX) */
} qg_host_bf16;

qg_host_bf16 qg_host_bf16_products(void);

/* As the operation gemm of a backend, for operands of bf16 where there are such products. `workspace`: qg_host_gemm_bytes of
 * the same number of threads, 64-byte aligned. */
size_t qg_host_gemm_bytes(int threads);
void qg_host_gemm(int threads, void *workspace, const qg_gemm_args *args);

/* high[i] = x[i] rounded to bf16; low[i] = what that leaves, rounded likewise: together 16 bits of x. low may be NULL. Where
 * there are products of bf16. */
void qg_host_split(int64_t count, const float *x, uint16_t *high, uint16_t *low);

/* sum x^2 in double of f32 or bf16, in an order that depends on count alone. */
double qg_host_sum_squares(qg_dtype type, int64_t count, const void *x);
/* max |x|, 0 for none; NaN counts as nothing. */
float qg_host_largest(int64_t count, const float *x);

/* out[i] = the normal number of element first + i (src/backend/cpu/normal.h): elements 2k and 2k + 1 are the pair of their words
 * of the stream. first is a multiple of QG_GROUP. The bits do not depend on the number of threads. */
void qg_normal_fill(qg_rng rng, float deviation, int64_t first, int64_t count, int threads, float *out);

#endif
