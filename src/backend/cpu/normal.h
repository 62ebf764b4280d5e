/* Normal numbers from the random stream, two from two words (Box and Muller 1958):
 *   u = 1 - unit(first), t = unit(second);  radius = sqrt(-2 ln u);  radius cos(2 pi t), radius sin(2 pi t).
 * Logarithm, sine and cosine are polynomials (Cephes) of fp32 operations that are each rounded by themselves:
 * no library's version, instruction set or contraction changes a bit. The largest number is sqrt(48 ln 2)
 * = 5.77. */
#ifndef QG_BACKEND_CPU_NORMAL_H
#define QG_BACKEND_CPU_NORMAL_H

#include <math.h>
#include <stdint.h>

#include "qgalore/numerics/float_bits.h"
#include "qgalore/numerics/philox.h"

/* ln u for u in [2^-24, 1]: u = 2^e (1 + x), 1 + x between the square roots of 1/2 and 2. */
QG_HD float qg_normal_log(float u)
{
  const int32_t root_half = 0x3f3504f3;
  int32_t exponent = (qg_bits_of_float(u) - root_half) >> 23;
  float e = (float)exponent, x = qg_float_of_bits(qg_bits_of_float(u) - exponent * (1 << 23)) - 1.0f;
  float p = 7.0376836292e-2f;
  p = p * x - 1.1514610310e-1f;
  p = p * x + 1.1676998740e-1f;
  p = p * x - 1.2420140846e-1f;
  p = p * x + 1.4249322787e-1f;
  p = p * x - 1.6668057665e-1f;
  p = p * x + 2.0000714765e-1f;
  p = p * x - 2.4999993993e-1f;
  p = p * x + 3.3333331174e-1f;
  float square = x * x;
  float low = p * x * square - 2.12194440e-4f * e - 0.5f * square;
  return (low + x) + 0.693359375f * e; /* ln 2 in two parts */
}

QG_HD float qg_normal_radius(uint32_t word)
{
  return sqrtf(-2.0f * qg_normal_log(1.0f - qg_rng_unit(word)));
}

/* cos and sin of 2 pi unit(word): a number of quarter turns, and x within an eighth of a turn of it. */
QG_HD void qg_normal_direction(uint32_t word, float *cosine, float *sine)
{
  int32_t turn = (int32_t)(word >> 8), quarters = (turn + (1 << 21)) >> 22;
  float x = (float)(turn - (quarters << 22)) * (6.28318530717958647692f * 0x1p-24f);
  float square = x * x;
  float s = (-1.9515295891e-4f * square + 8.3321608736e-3f) * square - 1.6666654611e-1f;
  s = s * square * x + x;
  float c = (2.443315711809948e-5f * square - 1.388731625493765e-3f) * square + 4.166664568298827e-2f;
  c = c * square * square - 0.5f * square + 1.0f;
  int32_t odd = -(quarters & 1); /* all bits set after an odd number of quarters: the two change places */
  int32_t swap = (qg_bits_of_float(s) ^ qg_bits_of_float(c)) & odd;
  *sine = qg_float_of_bits(qg_bits_of_float(s) ^ swap ^ (int32_t)((uint32_t)(quarters & 2) << 30));
  *cosine = qg_float_of_bits(qg_bits_of_float(c) ^ swap ^ (int32_t)((uint32_t)((quarters + 1) & 2) << 30));
}

/* The pair of one radius and direction, with this deviation. */
QG_HD void qg_normal_pair(uint32_t first, uint32_t second, float deviation, float *a, float *b)
{
  float radius = deviation * qg_normal_radius(first), cosine, sine;
  qg_normal_direction(second, &cosine, &sine);
  *a = radius * cosine;
  *b = radius * sine;
}

#endif
