/* Words of the random stream, many blocks at once where the instruction set has wide products (AVX-512). The
 * compiler makes 64-bit multiplications of Philox's 32-bit ones, which take three times as long. */
#ifndef QG_BACKEND_CPU_DRAW_WORDS_H
#define QG_BACKEND_CPU_DRAW_WORDS_H

#include "qgalore/numerics/philox.h"

enum { DRAW_BLOCKS = 8 };

#if defined(__AVX512F__)
#include <immintrin.h>

/* Blocks first .. first + 7, whose numbers agree above their lowest three bits; qg_rng_draw of each. One
 * 64-bit lane a block: only its lower half counts. */
static inline void draw_eight(qg_rng rng, uint64_t first, uint32_t *words)
{
  const __m512i m0 = _mm512_set1_epi64(0xD2511F53), m1 = _mm512_set1_epi64(0xCD9E8D57);
  const __m512i lane = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
  __m512i c0 = _mm512_add_epi64(_mm512_set1_epi64((uint32_t)first), lane);
  __m512i c1 = _mm512_set1_epi64(rng.tensor << 8 | (rng.purpose & 0xffu));
  __m512i c2 = _mm512_set1_epi64((uint32_t)rng.step);
  __m512i c3 = _mm512_set1_epi64((uint32_t)(rng.step >> 32) << 16 | (uint32_t)(first >> 32));
  uint32_t k0 = (uint32_t)rng.seed, k1 = (uint32_t)(rng.seed >> 32);
  for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    __m512i p0 = _mm512_mul_epu32(m0, c0), p1 = _mm512_mul_epu32(m1, c2);
    c0 =
        _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), c1, _mm512_set1_epi64(k0), 0x96); /* a ^ b ^ c */
    c2 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), c3, _mm512_set1_epi64(k1), 0x96);
    c1 = p1;
    c3 = p0;
  }
  const __m512i low = _mm512_set1_epi64(0xffffffff);
  const __m512i front = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0),
                back = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
  __m512i c01 = _mm512_or_si512(_mm512_and_si512(c0, low), _mm512_slli_epi64(c1, 32));
  __m512i c23 = _mm512_or_si512(_mm512_and_si512(c2, low), _mm512_slli_epi64(c3, 32));
  _mm512_storeu_si512(words, _mm512_permutex2var_epi64(c01, front, c23));
  _mm512_storeu_si512(words + 16, _mm512_permutex2var_epi64(c01, back, c23));
}
#else
static inline void draw_eight(qg_rng rng, uint64_t first, uint32_t *words)
{
  for (uint32_t i = 0; i < DRAW_BLOCKS; i++) {
    qg_rng_block block = qg_rng_draw(rng, first | i);
    for (int k = 0; k < 4; k++) words[4 * i + (uint32_t)k] = block.v[k];
  }
}
#endif

#endif
