/* exp of 16 floats. */
#ifndef QG_BACKEND_CPU_VECTOR_EXP_H
#define QG_BACKEND_CPU_VECTOR_EXP_H

#include <immintrin.h>

/* The formula of isa/vector_math.h: exp(x) = 2^k exp(r), k = round(x / ln 2), r reduced in two parts. */
static inline __m512 exp_16(__m512 x)
{
  __m512 y = _mm512_max_ps(_mm512_set1_ps(-87.3f), x); /* keeps NaN */
  y = _mm512_min_ps(_mm512_set1_ps(88.3f), y);
  __m512 k = _mm512_roundscale_ps(_mm512_mul_ps(y, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT);
  __m512 r = _mm512_fnmadd_ps(k, _mm512_set1_ps(0.693359375f), y);
  r = _mm512_fnmadd_ps(k, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_fmadd_ps(_mm512_mul_ps(p, r), r, _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
  return _mm512_scalef_ps(p, k);
}

#endif
