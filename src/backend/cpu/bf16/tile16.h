/* Pieces of 16 and 32 elements in AVX-512 registers. */
#ifndef QG_BACKEND_CPU_TILE16_H
#define QG_BACKEND_CPU_TILE16_H

#include <immintrin.h>
#include <stdint.h>

enum { QG_TILE = 16 };

/* The first `count` of 32 lanes. */
static inline __mmask32 qg_lanes(int64_t count)
{
  return count >= 32 ? UINT32_MAX : count <= 0 ? 0 : (1u << count) - 1;
}

static inline __m512i qg_load_half(const uint16_t *from, __mmask16 lanes)
{
  return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, from));
}

static inline __m512 qg_load_bf16(const uint16_t *from, __mmask16 lanes)
{
  return _mm512_castsi512_ps(_mm512_slli_epi32(qg_load_half(from, lanes), 16));
}

/* 16 elements and 16 more -> pairs of one of each. */
static inline __m512i qg_interleave(__m512i halves)
{
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                         22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, halves);
}

/* 16 x 16 elements of 32 bits: within 128-bit lanes, then the lanes. */
static inline void qg_transpose_16(__m512i t[QG_TILE])
{
  __m512i u[QG_TILE];
  for (int i = 0; i < QG_TILE; i += 2) {
    u[i] = _mm512_unpacklo_epi32(t[i], t[i + 1]);
    u[i + 1] = _mm512_unpackhi_epi32(t[i], t[i + 1]);
  }
  for (int i = 0; i < QG_TILE; i += 4)
    for (int k = 0; k < 2; k++) {
      t[i + 2 * k] = _mm512_unpacklo_epi64(u[i + k], u[i + k + 2]);
      t[i + 2 * k + 1] = _mm512_unpackhi_epi64(u[i + k], u[i + k + 2]);
    }
  for (int i = 0; i < 4; i++) {
    u[i] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
    u[i + 4] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
    u[i + 8] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
    u[i + 12] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
  }
  for (int i = 0; i < 8; i++) {
    t[i] = _mm512_shuffle_i32x4(u[i], u[i + 8], 0x88);
    t[i + 8] = _mm512_shuffle_i32x4(u[i], u[i + 8], 0xdd);
  }
}

#endif
