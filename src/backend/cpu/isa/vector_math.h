/* Elementary functions as straight-line code, so that loops over them vectorise on every instruction set. */
#ifndef QG_BACKEND_CPU_VECTOR_MATH_H
#define QG_BACKEND_CPU_VECTOR_MATH_H

#include <stdint.h>
#include <string.h>

/* exp(x), relative error under 2e-7 for x in [-87, 88]; below it tends to 0, above it saturates; NaN stays
 * NaN. exp(x) = 2^k exp(r), k = round(x / ln 2), |r| <= ln 2 / 2, polynomial of degree 6 (Cephes expf). */
static inline float vector_exp(float x)
{
  float y = x < -87.3f ? -87.3f : x; /* keeps NaN */
  y = y > 88.3f ? 88.3f : y;
  float shifted = y * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: rounds to nearest in the low bits */
  float k = shifted - 12582912.0f;
  float r = (y - k * 0.693359375f) - k * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  int32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  uint32_t exponent = (uint32_t)(bits + 127) << 23;
  float power;
  memcpy(&power, &exponent, sizeof power);
  return p * power;
}

static inline float vector_sigmoid(float x)
{
  return 1.0f / (1.0f + vector_exp(-x));
}

#endif
