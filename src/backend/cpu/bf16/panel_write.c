/* Sums of panels become elements of a result. */
#include <immintrin.h>

#include "backend/cpu/bf16/tile16.h"
#include "backend/cpu/panel.h"

/* Results of more bytes than the caches hold need not be fetched before they are overwritten. */
enum { BYPASS_BYTES = 16 << 20 };

/* C = alpha sums + beta C, where C need not be read if beta is 0. */
typedef struct {
  __m512 alpha, beta;
  bool reads, bypasses;
} rule;

static rule rule_of(float alpha, float beta, qg_view c)
{
  bool reads = beta != 0.0f, lines = ((uintptr_t)c.data | (size_t)c.stride * sizeof(float)) % 64 == 0;
  bool large = (size_t)(c.rows * c.cols) * sizeof(float) >= BYPASS_BYTES;
  return (rule){_mm512_set1_ps(alpha), _mm512_set1_ps(beta), reads, !reads && lines && large};
}

static void write_f32(const float *sums, rule r, float *to, __mmask16 mask)
{
  __m512 value = _mm512_mul_ps(r.alpha, _mm512_load_ps(sums));
  if (r.reads) value = _mm512_fmadd_ps(r.beta, _mm512_maskz_loadu_ps(mask, to), value);
  if (r.bypasses && mask == 0xffff) _mm512_stream_ps(to, value);
  else
    _mm512_mask_storeu_ps(to, mask, value);
}

static void write_bf16(const float *sums, rule r, uint16_t *to, __mmask32 mask)
{
  __m512 low = _mm512_mul_ps(r.alpha, _mm512_load_ps(sums));
  __m512 high = _mm512_mul_ps(r.alpha, _mm512_load_ps(sums + QG_TILE));
  if (r.reads) {
    low = _mm512_fmadd_ps(r.beta, qg_load_bf16(to, (__mmask16)mask), low);
    high = _mm512_fmadd_ps(r.beta, qg_load_bf16(to + QG_TILE, (__mmask16)(mask >> QG_TILE)), high);
  }
  _mm512_mask_storeu_epi16(to, mask, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

void qg_panel_write(const float *sums, float alpha, float beta, qg_view c, int64_t row, int64_t col)
{
  const __mmask32 mask = qg_lanes(c.cols - col);
  const rule r = rule_of(alpha, beta, c);
  int64_t rows = qg_min_i64(QG_PANEL, c.rows - row), at = row * c.stride + col;
  for (int64_t i = 0; i < rows; i++, at += c.stride, sums += QG_PANEL) {
    if (c.type == QG_BF16) {
      write_bf16(sums, r, (uint16_t *)c.data + at, mask);
      continue;
    }
    write_f32(sums, r, (float *)c.data + at, (__mmask16)mask);
    write_f32(sums + QG_TILE, r, (float *)c.data + at + QG_TILE, (__mmask16)(mask >> QG_TILE));
  }
}
