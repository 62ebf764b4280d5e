/* Table look-ups of many elements at once where the instruction set gathers well (AVX-512); elsewhere they do
 * nothing and the caller's loop does all. Each returns how many elements are done. */
#ifndef QG_BACKEND_CPU_TABLE_LOOKUP_H
#define QG_BACKEND_CPU_TABLE_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/numerics/dynamic_search.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
#include <immintrin.h>

enum { LOOKUP_LANES = 16 };

/* out = map[codes] * factor. */
static inline int64_t look_up_values(const float *map, float factor, const uint8_t *codes, int64_t n,
                                     float *out)
{
  int64_t i = 0;
  const __m512 scale = _mm512_set1_ps(factor);
  for (; i + LOOKUP_LANES <= n; i += LOOKUP_LANES) {
    __m512i index = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(codes + i)));
    _mm512_storeu_ps(out + i, _mm512_mul_ps(_mm512_i32gather_ps(index, map, sizeof(float)), scale));
  }
  return i;
}

/* x / d as if by division, for |x| <= d, for less than the time of one: the reciprocal's error is taken back
 * twice (Markstein, IBM J. Res. Dev. 34, 1990). Where d lies so that nothing underflows on the way and
 * quotients under QG_SEARCH_LOW keep their sign; elsewhere by division. */
typedef struct {
  __m512 divisor, reciprocal;
  bool divides;
} quotient_rule;

static inline quotient_rule quotients_by(float divisor)
{
  bool fast = divisor >= 0x1p-76f && divisor <= 1.0f;
  return (quotient_rule){_mm512_set1_ps(divisor), _mm512_set1_ps(1.0f / divisor), !fast};
}

static inline __m512 quotient(__m512 x, quotient_rule rule)
{
  if (rule.divides) return _mm512_div_ps(x, rule.divisor);
  __m512 q = _mm512_mul_ps(x, rule.reciprocal);
  for (int i = 0; i < 2; i++) q = _mm512_fmadd_ps(_mm512_fnmadd_ps(q, rule.divisor, x), rule.reciprocal, q);
  return q;
}

/* qg_dynamic_find of 16 numbers. */
static inline __m512i find_codes(const qg_dynamic_search *search, __m512 x)
{
  const __m512i low = _mm512_set1_epi32(QG_SEARCH_LOW), high = _mm512_set1_epi32(QG_SEARCH_HIGH);
  const __m512i last = _mm512_set1_epi32(QG_SEARCH_LAST_PLACE);
  __mmask16 number = _mm512_cmp_ps_mask(x, x, _CMP_ORD_Q);
  __m512i bits = _mm512_castps_si512(_mm512_maskz_add_ps(number, x, _mm512_setzero_ps()));
  __mmask16 negative = _mm512_movepi32_mask(bits);
  __m512i magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(INT32_MAX));
  magnitude = _mm512_min_epi32(_mm512_max_epi32(magnitude, low), high);
  __m512i where = _mm512_sub_epi32(magnitude, low);
  where = _mm512_mask_xor_epi32(where, negative, where, last);
  where = _mm512_mask_add_epi32(where, negative, where, _mm512_set1_epi32(QG_SEARCH_BINS << QG_SEARCH_SHIFT));
  __m512i entry = _mm512_i32gather_epi32(_mm512_srli_epi32(where, QG_SEARCH_SHIFT), search->entry, 4);
  __m512i change = _mm512_srli_epi32(entry, QG_DYNAMIC_CODE_BITS);
  __mmask16 above = _mm512_cmpgt_epi32_mask(_mm512_and_si512(where, last), change);
  return _mm512_mask_add_epi32(entry, above, entry, _mm512_set1_epi32(1));
}

/* codes = qg_dynamic_find(x / absmax); |x| <= absmax, or absmax is NaN. */
static inline int look_up_codes(const qg_dynamic_search *search, const float *x, float absmax, int n,
                                uint8_t *codes)
{
  int i = 0;
  const quotient_rule rule = quotients_by(absmax);
  for (; i + LOOKUP_LANES <= n; i += LOOKUP_LANES) {
    __m512i found = find_codes(search, quotient(_mm512_loadu_ps(x + i), rule));
    _mm_storeu_si128((__m128i *)(codes + i), _mm512_cvtepi32_epi8(found));
  }
  return i;
}
#else
static inline int64_t look_up_values(const float *map, float factor, const uint8_t *codes, int64_t n,
                                     float *out)
{
  (void)map, (void)factor, (void)codes, (void)n, (void)out;
  return 0;
}

static inline int look_up_codes(const qg_dynamic_search *search, const float *x, float absmax, int n,
                                uint8_t *codes)
{
  (void)search, (void)x, (void)absmax, (void)n, (void)codes;
  return 0;
}
#endif

#endif
