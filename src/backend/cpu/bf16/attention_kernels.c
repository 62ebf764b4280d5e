#include "backend/cpu/bf16/attention_kernels.h"

#include <immintrin.h>
#include <math.h>

#include "backend/cpu/bf16/tile16.h"
#include "backend/cpu/bf16/vector_exp.h"

void qg_softmax_begin(qg_softmax_state *state)
{
  for (int i = 0; i < QG_PANEL; i++) {
    state->max[i] = -INFINITY;
    state->sum[i] = 0.0f;
  }
}

/* Row i of a block or of a step of an A panel. */
static inline const float *sums_row(const float *sums, int64_t i)
{
  return sums + i * QG_PANEL;
}

static inline uint16_t *a_row(uint16_t *step, int64_t i)
{
  return step + i * QG_PANEL_STEP;
}

static float visible_max(const float *row, int64_t blocks, int64_t visible)
{
  __m512 max = _mm512_set1_ps(-INFINITY);
  for (int64_t b = 0; b < blocks; b++, visible -= QG_PANEL) {
    __mmask32 seen = qg_lanes(visible);
    const float *at = row + b * QG_PANEL_SUMS;
    max = _mm512_mask_max_ps(max, (__mmask16)seen, max, _mm512_load_ps(at));
    max = _mm512_mask_max_ps(max, (__mmask16)(seen >> 16), max, _mm512_load_ps(at + 16));
  }
  return _mm512_reduce_max_ps(max);
}

/* Writes exp(score scale - max), 0 where the query does not see; returns their sum. */
static float exponentials(const float *row, int64_t blocks, int64_t visible, float scale, float max,
                          uint16_t *p)
{
  const __m512 factor = _mm512_set1_ps(scale), shift = _mm512_set1_ps(max);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t b = 0; b < blocks; b++, visible -= QG_PANEL) {
    __mmask32 seen = qg_lanes(visible);
    const float *at = row + b * QG_PANEL_SUMS;
    __m512 low = exp_16(_mm512_fmsub_ps(_mm512_load_ps(at), factor, shift));
    __m512 high = exp_16(_mm512_fmsub_ps(_mm512_load_ps(at + 16), factor, shift));
    low = _mm512_maskz_mov_ps((__mmask16)seen, low);
    high = _mm512_maskz_mov_ps((__mmask16)(seen >> 16), high);
    sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
    _mm512_store_si512(p + b * QG_PANEL_STEP_ELEMENTS, (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }
  return _mm512_reduce_add_ps(sum);
}

void qg_softmax_block(qg_softmax_state *state, const float *scores, int64_t blocks, int64_t visible,
                      float scale, uint16_t *p, float rescale[QG_PANEL])
{
  for (int i = 0; i < QG_PANEL; i++) {
    const float *row = sums_row(scores, i);
    float max = fmaxf(state->max[i], scale * visible_max(row, blocks, visible + i));
    float sum = exponentials(row, blocks, visible + i, scale, max, a_row(p, i));
    rescale[i] = expf(state->max[i] - max);
    state->sum[i] = state->sum[i] * rescale[i] + sum;
    state->max[i] = max;
  }
}

void qg_scale_rows(float *sums, int64_t blocks, const float factor[QG_PANEL])
{
  for (int64_t b = 0; b < blocks; b++, sums += QG_PANEL_SUMS)
    for (int i = 0; i < QG_PANEL; i++)
      for (int j = 0; j < QG_PANEL; j++) sums[i * QG_PANEL + j] *= factor[i];
}

void qg_softmax_end(const qg_softmax_state *state, float lse[QG_PANEL], float factor[QG_PANEL])
{
  for (int i = 0; i < QG_PANEL; i++) {
    lse[i] = state->max[i] + logf(state->sum[i]);
    factor[i] = 1.0f / state->sum[i];
  }
}

/* Half a row: 16 queries. */
typedef struct {
  __m512 p, ds;
} half_row;

static inline half_row gradient_of(const qg_score_gradient_args *a, int64_t key, int64_t half)
{
  const __m512 scale = _mm512_set1_ps(a->scale);
  __mmask16 seen = (__mmask16)~qg_lanes(a->first_query + key - 16 * half);
  int64_t at = key * QG_PANEL + 16 * half;
  __m512 exponent =
      _mm512_fmsub_ps(_mm512_load_ps(a->scores + at), scale, _mm512_load_ps(a->lse + 16 * half));
  half_row row = {.p = _mm512_maskz_mov_ps(seen, exp_16(exponent))};
  __m512 dp = _mm512_sub_ps(_mm512_load_ps(a->dp + at), _mm512_load_ps(a->delta + 16 * half));
  row.ds = _mm512_maskz_mul_ps(seen, _mm512_mul_ps(row.p, dp), scale);
  return row;
}

/* Keys 2 r and 2 r + 1: two rows of A steps, one row of pairs in each half of the B step. */
static inline void write_pair(const qg_score_gradient_args *a, int64_t r, const half_row rows[2][2])
{
  for (int k = 0; k < 2; k++) {
    int64_t at = (2 * r + k) * QG_PANEL_STEP;
    _mm512_store_si512(a->p + at, (__m512i)_mm512_cvtne2ps_pbh(rows[k][1].p, rows[k][0].p));
    _mm512_store_si512(a->ds + at, (__m512i)_mm512_cvtne2ps_pbh(rows[k][1].ds, rows[k][0].ds));
  }
  for (int half = 0; half < 2; half++) {
    __m512i pair = (__m512i)_mm512_cvtne2ps_pbh(rows[1][half].ds, rows[0][half].ds);
    _mm512_store_si512(a->ds_b + half * (QG_PANEL_STEP_ELEMENTS / 2) + r * 32, qg_interleave(pair));
  }
}

void qg_score_gradient(const qg_score_gradient_args *args)
{
  for (int64_t r = 0; r < QG_PANEL / 2; r++) {
    half_row rows[2][2];
    for (int k = 0; k < 2; k++)
      for (int half = 0; half < 2; half++) rows[k][half] = gradient_of(args, 2 * r + k, half);
    write_pair(args, r, rows);
  }
}

static float dot(const uint16_t *a, const uint16_t *b, int64_t cols)
{
  __m512 sum = _mm512_setzero_ps();
  for (int64_t j = 0; j < cols; j += 16) {
    __mmask16 lanes = (__mmask16)qg_lanes(cols - j);
    sum = _mm512_fmadd_ps(qg_load_bf16(a + j, lanes), qg_load_bf16(b + j, lanes), sum);
  }
  return _mm512_reduce_add_ps(sum);
}

void qg_row_dots(qg_view a, qg_view b, float *out)
{
  for (int64_t i = 0; i < a.rows; i++)
    out[i] = dot((const uint16_t *)a.data + i * a.stride, (const uint16_t *)b.data + i * b.stride, a.cols);
}

/* Rows 16 h of the transpose are columns 16 h of the sums. */
static void write_transposed_half(const float *sums, int64_t half, qg_view c, int64_t row, int64_t col)
{
  __m512i low[QG_TILE], high[QG_TILE];
  const __mmask32 lanes = qg_lanes(c.cols - col);
  for (int i = 0; i < QG_TILE; i++) {
    low[i] = _mm512_load_si512(sums + i * QG_PANEL + 16 * half);
    high[i] = _mm512_load_si512(sums + (QG_TILE + i) * QG_PANEL + 16 * half);
  }
  qg_transpose_16(low);
  qg_transpose_16(high);
  row += 16 * half;
  for (int i = 0; i < QG_TILE && row + i < c.rows; i++) {
    __m512bh both = _mm512_cvtne2ps_pbh((__m512)high[i], (__m512)low[i]);
    _mm512_mask_storeu_epi16((uint16_t *)c.data + (row + i) * c.stride + col, lanes, (__m512i)both);
  }
}

void qg_panel_write_transposed(const float *sums, qg_view c, int64_t row, int64_t col)
{
  write_transposed_half(sums, 0, c, row, col);
  write_transposed_half(sums, 1, c, row, col);
}
