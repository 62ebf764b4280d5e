/* bf16: the upper half of an fp32. */
#ifndef QGALORE_NUMERICS_BF16_H
#define QGALORE_NUMERICS_BF16_H

#include <stdint.h>
#include <string.h>

#include "qgalore/numerics/host_device.h"

/* To nearest even; NaN stays NaN. */
QG_HD uint16_t qg_bf16_from_float(float x)
{
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
  return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

QG_HD float qg_bf16_to_float(uint16_t h)
{
  uint32_t bits = (uint32_t)h << 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

QG_HD float qg_bf16_round(float x)
{
  return qg_bf16_to_float(qg_bf16_from_float(x));
}

/* Stochastic rounding: the magnitude is rounded up with the probability of the discarded
 * 16 bits, decided by the upper 16 bits of `word`. Infinity and NaN stay what they are. */
QG_HD uint16_t qg_bf16_stochastic(float x, uint32_t word)
{
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7f800000u) == 0x7f800000u) return qg_bf16_from_float(x);
  return (uint16_t)((bits + (word >> 16)) >> 16);
}

#endif
