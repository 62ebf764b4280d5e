/* Table look-ups of many elements at once where the instruction set gathers well (AVX-512); elsewhere they do
 * nothing and the caller's loop does all. Each returns how many elements are done. */
#ifndef QG_BACKEND_CPU_TABLE_LOOKUP_H
#define QG_BACKEND_CPU_TABLE_LOOKUP_H

#include <stdint.h>

#include "quant/dynamic_search.h"

#if defined(__AVX512F__) && defined(__AVX512BW__)
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

/* The second half of qg_dynamic_find, for numbers whose bins are known. */
static inline int look_up_codes(const qg_dynamic_search *search, const float *x, const int32_t *bin, int n,
                                uint8_t *codes)
{
  int i = 0;
  const __m512i byte = _mm512_set1_epi32(255), one = _mm512_set1_epi32(1);
  for (; i + LOOKUP_LANES <= n; i += LOOKUP_LANES) {
    __m512i at = _mm512_loadu_si512(bin + i);
    __m512i code = _mm512_and_si512(_mm512_i32gather_epi32(at, search->start, 1), byte);
    __m512 threshold = _mm512_i32gather_ps(code, search->threshold, sizeof(float));
    __mmask16 above = _mm512_cmp_ps_mask(_mm512_loadu_ps(x + i), threshold, _CMP_GT_OQ);
    code = _mm512_mask_add_epi32(code, above, code, one);
    _mm_storeu_si128((__m128i *)(codes + i), _mm512_cvtepi32_epi8(code));
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

static inline int look_up_codes(const qg_dynamic_search *search, const float *x, const int32_t *bin, int n,
                                uint8_t *codes)
{
  (void)search, (void)x, (void)bin, (void)n, (void)codes;
  return 0;
}
#endif

#endif
