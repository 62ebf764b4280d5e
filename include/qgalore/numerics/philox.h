/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11).
 *
 * Counter-based: a number is a pure function of (seed, purpose, tensor, step, element),
 * so any number of ranks or threads draws the same bits, and a restart goes on as if
 * nothing had happened. One definition, compiled for the host and for the device. */
#ifndef QGALORE_NUMERICS_PHILOX_H
#define QGALORE_NUMERICS_PHILOX_H

#include <stdint.h>

#include "qgalore/numerics/host_device.h"


/* What a number is for; distinct purposes never share a counter. Stored nowhere, but part of the bits: append only. */
typedef enum {
  QG_RNG_INIT = 1,     /* weight initialisation */
  QG_RNG_ROUND = 2,    /* stochastic rounding of weights */
  QG_RNG_SHUFFLE = 3,  /* order of the training sequences */
  QG_RNG_SUBSPACE = 4, /* random test matrices */
  QG_RNG_SYNTHETIC = 5, /* random tokens for benches */
  QG_RNG_SELFTEST = 6     /* tokens of a checkpoint's self-test */
} qg_rng_purpose;

typedef struct {
  uint64_t seed;
  uint64_t step;   /* < 2^48 */
  uint32_t tensor; /* < 2^24; for weights the global parameter id */
  uint32_t purpose;
} qg_rng;

typedef struct {
  uint32_t v[4];
} qg_rng_block;

/* Returns the upper half of a * b. In 64 bits a device would add halves that are 0. */
QG_HD uint32_t qg_wide_product(uint32_t a, uint32_t b, uint32_t *low)
{
#ifdef __CUDA_ARCH__
  *low = a * b;
  return __umulhi(a, b);
#else
  uint64_t product = (uint64_t)a * b;
  *low = (uint32_t)product;
  return (uint32_t)(product >> 32);
#endif
}

/* The four 32-bit words number 4*block .. 4*block+3 of the stream. */
QG_HD qg_rng_block qg_rng_draw(qg_rng rng, uint64_t block)
{
  uint32_t c0 = (uint32_t)block;
  uint32_t c1 = rng.tensor << 8 | (rng.purpose & 0xffu);
  uint32_t c2 = (uint32_t)rng.step;
  uint32_t c3 = (uint32_t)(rng.step >> 32) << 16 | (uint32_t)(block >> 32);
  uint32_t k0 = (uint32_t)rng.seed, k1 = (uint32_t)(rng.seed >> 32);
  for (int round = 0; round < 10; round++) {
    uint32_t low0, low1;
    uint32_t high0 = qg_wide_product(0xD2511F53u, c0, &low0), high1 = qg_wide_product(0xCD9E8D57u, c2, &low1);
    c0 = high1 ^ c1 ^ k0;
    c2 = high0 ^ c3 ^ k1;
    c1 = low1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  qg_rng_block out = {{c0, c1, c2, c3}};
  return out;
}

/* Uniform in [0, 1) on a grid of 2^-24. */
QG_HD float qg_rng_unit(uint32_t word) { return (float)(word >> 8) * 0x1p-24f; }

/* The uniform number that belongs to one element. Loops over elements draw one block for four of them instead. */
QG_HD float qg_rng_unit_at(qg_rng rng, uint64_t element)
{
  return qg_rng_unit(qg_rng_draw(rng, element >> 2).v[element & 3]);
}

#endif
