/* Packing of panels, a tile of 16 x 64 bytes in registers at a time, and writing of products. */
#include <immintrin.h>

#include "backend/cpu/bf16/tile16.h"
#include "backend/cpu/panel.h"

enum { TILE = QG_TILE, TILE_ELEMENTS = TILE * QG_PANEL_STEP };

/* t[i] = 32 elements of row i. */
static inline void load_rows(const uint16_t *from, int64_t stride, int64_t rows, int64_t cols,
                             __m512i t[TILE])
{
  const __mmask32 mask = qg_lanes(cols);
  for (int i = 0; i < TILE; i++)
    t[i] = i < rows ? _mm512_maskz_loadu_epi16(mask, from + i * stride) : _mm512_setzero_si512();
}

/* t[r] = pairs of rows 2 r and 2 r + 1. */
static inline void load_pairs(const uint16_t *from, int64_t stride, int64_t rows, int64_t cols,
                              __m512i t[TILE])
{
  const __mmask16 mask = (__mmask16)qg_lanes(cols);
  for (int r = 0; r < TILE; r++) {
    __m512i even = 2 * r < rows ? qg_load_half(from + 2 * r * stride, mask) : _mm512_setzero_si512();
    __m512i odd = 2 * r + 1 < rows ? qg_load_half(from + (2 * r + 1) * stride, mask) : _mm512_setzero_si512();
    t[r] = _mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
  }
}

/* Rows along the depth are A's layout, pairs over the depth are B's; the other one is its transpose. */
static inline __attribute__((always_inline)) void pack(bool rows, bool turned, qg_panel_source from,
                                                       int64_t extent, int64_t depth, uint16_t *to)
{
  for (int64_t d = 0; d < depth; d += QG_PANEL_STEP)
    for (int64_t e = 0; e < QG_PANEL; e += TILE, to += TILE_ELEMENTS) {
      __m512i t[TILE];
      if (rows) load_rows(from.data + e * from.stride + d, from.stride, extent - e, depth - d, t);
      else
        load_pairs(from.data + d * from.stride + e, from.stride, depth - d, extent - e, t);
      if (turned) qg_transpose_16(t);
      for (int i = 0; i < TILE; i++) _mm512_store_si512(to + i * QG_PANEL_STEP, t[i]);
    }
}

void qg_panel_pack(qg_panel_side side, qg_panel_source source, int64_t extent, int64_t depth, uint16_t *panel)
{
  if (source.depth_contiguous && side == QG_PANEL_A) pack(true, false, source, extent, depth, panel);
  else if (source.depth_contiguous)
    pack(true, true, source, extent, depth, panel);
  else if (side == QG_PANEL_A)
    pack(false, true, source, extent, depth, panel);
  else
    pack(false, false, source, extent, depth, panel);
}

static void write_f32(const float *sums, __m512 alpha, __m512 beta, bool reads, float *to, __mmask16 mask)
{
  __m512 value = _mm512_mul_ps(alpha, _mm512_load_ps(sums));
  if (reads) value = _mm512_fmadd_ps(beta, _mm512_maskz_loadu_ps(mask, to), value);
  _mm512_mask_storeu_ps(to, mask, value);
}

static void write_bf16(const float *sums, __m512 alpha, __m512 beta, bool reads, uint16_t *to, __mmask32 mask)
{
  __m512 low = _mm512_mul_ps(alpha, _mm512_load_ps(sums));
  __m512 high = _mm512_mul_ps(alpha, _mm512_load_ps(sums + TILE));
  if (reads) {
    low = _mm512_fmadd_ps(beta, qg_load_bf16(to, (__mmask16)mask), low);
    high = _mm512_fmadd_ps(beta, qg_load_bf16(to + TILE, (__mmask16)(mask >> TILE)), high);
  }
  _mm512_mask_storeu_epi16(to, mask, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

void qg_panel_write(const float *sums, float alpha, float beta, qg_view c, int64_t row, int64_t col)
{
  const __mmask32 mask = qg_lanes(c.cols - col);
  const __m512 a = _mm512_set1_ps(alpha), b = _mm512_set1_ps(beta);
  const bool reads = beta != 0.0f;
  int64_t rows = qg_min_i64(QG_PANEL, c.rows - row), at = row * c.stride + col;
  for (int64_t i = 0; i < rows; i++, at += c.stride, sums += QG_PANEL) {
    if (c.type == QG_BF16) {
      write_bf16(sums, a, b, reads, (uint16_t *)c.data + at, mask);
      continue;
    }
    write_f32(sums, a, b, reads, (float *)c.data + at, (__mmask16)mask);
    write_f32(sums + TILE, a, b, reads, (float *)c.data + at + TILE, (__mmask16)(mask >> TILE));
  }
}
