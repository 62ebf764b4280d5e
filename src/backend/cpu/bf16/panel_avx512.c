/* Panel products with vdpbf16ps: 8 x 32 sums stay in registers; a pair of A is broadcast from memory. */
#include <immintrin.h>
#include <string.h>

#include "backend/cpu/bf16/panel_tables.h"

enum { ROWS = 8, HALF = QG_PANEL_STEP_ELEMENTS / 2, PAIRS = QG_PANEL_STEP / 2 };

static void nothing(void)
{
}

static inline __m512bh pair_of(const uint16_t *a)
{
  int32_t pair;
  memcpy(&pair, a, sizeof pair);
  return (__m512bh)_mm512_set1_epi32(pair);
}

/* Rows `row` .. row + 7 of C, whose A begins with its first row. */
static void multiply_rows(qg_panel_rows a, const uint16_t *b, int64_t steps, bool accumulate, float *c)
{
  __m512 low[ROWS], high[ROWS];
  for (int i = 0; i < ROWS; i++) {
    low[i] = accumulate ? _mm512_load_ps(c + i * QG_PANEL) : _mm512_setzero_ps();
    high[i] = accumulate ? _mm512_load_ps(c + i * QG_PANEL + 16) : _mm512_setzero_ps();
  }
  for (int64_t s = 0; s < steps; s++, a.data += a.step, b += QG_PANEL_STEP_ELEMENTS)
    for (int r = 0; r < PAIRS; r++) {
      __m512bh b_low = (__m512bh)_mm512_load_si512(b + r * 32);
      __m512bh b_high = (__m512bh)_mm512_load_si512(b + HALF + r * 32);
      for (int i = 0; i < ROWS; i++) {
        __m512bh pair = pair_of(a.data + i * a.stride + 2 * r);
        low[i] = _mm512_dpbf16_ps(low[i], pair, b_low);
        high[i] = _mm512_dpbf16_ps(high[i], pair, b_high);
      }
    }
  for (int i = 0; i < ROWS; i++) {
    _mm512_store_ps(c + i * QG_PANEL, low[i]);
    _mm512_store_ps(c + i * QG_PANEL + 16, high[i]);
  }
}

static void multiply(qg_panel_rows a, const uint16_t *b, int64_t steps, bool accumulate, float *c)
{
  for (int row = 0; row < QG_PANEL; row += ROWS, a.data += ROWS * a.stride)
    multiply_rows(a, b, steps, accumulate, c + row * QG_PANEL);
}

const qg_panel_kernels qg_panels_avx512 = {.begin = nothing, .end = nothing, .multiply = multiply};
