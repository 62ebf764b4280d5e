/* Packing of panels, a tile of 16 x 64 bytes in registers at a time. */
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
static inline __attribute__((always_inline)) void pack_step(bool rows, bool turned, qg_panel_source from,
                                                            int64_t extent, int64_t depth, uint16_t *to)
{
  for (int64_t e = 0; e < QG_PANEL; e += TILE, to += TILE_ELEMENTS) {
    __m512i t[TILE];
    if (rows) load_rows(from.data + e * from.stride, from.stride, extent - e, depth, t);
    else
      load_pairs(from.data + e, from.stride, depth, extent - e, t);
    if (turned) qg_transpose_16(t);
    for (int i = 0; i < TILE; i++) _mm512_store_si512(to + i * QG_PANEL_STEP, t[i]);
  }
}

static void pack_any(qg_panel_side side, qg_panel_source from, int64_t extent, int64_t depth, uint16_t *to)
{
  if (from.depth_contiguous && side == QG_PANEL_A) pack_step(true, false, from, extent, depth, to);
  else if (from.depth_contiguous)
    pack_step(true, true, from, extent, depth, to);
  else if (side == QG_PANEL_A)
    pack_step(false, true, from, extent, depth, to);
  else
    pack_step(false, false, from, extent, depth, to);
}

/* Pairs of two whole rows come in 128-bit lanes: columns 0-3, 8-11, 16-19, 24-27 low and the others high. */
static inline __m512i pairs(qg_panel_source from, int r, bool high)
{
  __m512i even = _mm512_loadu_si512(from.data + 2 * r * from.stride);
  __m512i odd = _mm512_loadu_si512(from.data + (2 * r + 1) * from.stride);
  return high ? _mm512_unpackhi_epi16(even, odd) : _mm512_unpacklo_epi16(even, odd);
}

static void pair_rows(qg_panel_source from, uint16_t *to)
{
  const __m512i first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
  const __m512i second = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
  for (int r = 0; r < TILE; r++) {
    __m512i low = pairs(from, r, false), high = pairs(from, r, true);
    _mm512_store_si512(to + r * 32, _mm512_permutex2var_epi64(low, first, high));
    _mm512_store_si512(to + TILE_ELEMENTS + r * 32, _mm512_permutex2var_epi64(low, second, high));
  }
}

/* After the transposition each of those columns is a row of A. */
static inline __attribute__((always_inline)) void turn_half(qg_panel_source from, bool high, uint16_t *to)
{
  __m512i t[TILE];
  for (int r = 0; r < TILE; r++) t[r] = pairs(from, r, high);
  qg_transpose_16(t);
  for (int i = 0; i < TILE; i++)
    _mm512_store_si512(to + (i / 4 * 8 + i % 4 + 4 * high) * QG_PANEL_STEP, t[i]);
}

static void turn_rows(qg_panel_source from, uint16_t *to)
{
  turn_half(from, false, to);
  turn_half(from, true, to);
}

static qg_panel_source advanced(qg_panel_source from, int64_t depth)
{
  from.data += from.depth_contiguous ? depth : depth * from.stride;
  return from;
}

static void pack_whole(qg_panel_side side, qg_panel_source from, int64_t steps, uint16_t *to)
{
  for (int64_t s = 0; s < steps; s++, to += QG_PANEL_STEP_ELEMENTS) {
    qg_panel_source at = advanced(from, s * QG_PANEL_STEP);
    if (from.depth_contiguous) pack_step(true, side == QG_PANEL_B, at, QG_PANEL, QG_PANEL_STEP, to);
    else if (side == QG_PANEL_A)
      turn_rows(at, to);
    else
      pair_rows(at, to);
  }
}

void qg_panel_pack(qg_panel_side side, qg_panel_source source, int64_t extent, int64_t depth, uint16_t *panel)
{
  int64_t whole = extent >= QG_PANEL ? depth / QG_PANEL_STEP : 0;
  pack_whole(side, source, whole, panel);
  for (int64_t d = whole * QG_PANEL_STEP; d < depth; d += QG_PANEL_STEP)
    pack_any(side, advanced(source, d), extent, depth - d,
             panel + d / QG_PANEL_STEP * QG_PANEL_STEP_ELEMENTS);
}
