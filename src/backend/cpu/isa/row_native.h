/* Row kernels in the instructions of AVX512-BF16 (level bf16): fused multiply-adds, and rounding to bf16 in
 * one instruction, to nearest even like the others but for results below 2^-126, which become 0. Included by
 * row_kernels.c in place of the portable ones. */
#include <immintrin.h>

#include "backend/cpu/bf16/tile16.h"
#include "backend/cpu/bf16/vector_exp.h"

/* 1 / (1 + exp(-x)); the estimate of the quotient is refined once, to 2^-23. */
static inline __m512 sigmoid_16(__m512 x)
{
  __m512 divisor = _mm512_add_ps(_mm512_set1_ps(1.0f), exp_16(_mm512_sub_ps(_mm512_setzero_ps(), x)));
  __m512 estimate = _mm512_rcp14_ps(divisor);
  __m512 error = _mm512_fnmadd_ps(divisor, estimate, _mm512_set1_ps(1.0f));
  return _mm512_fmadd_ps(estimate, error, estimate);
}

/* 32 elements; lanes that are not there are 0 and are not stored. */
typedef struct {
  __m512 low, high;
} wide;

static inline wide load_32(const uint16_t *from, __mmask32 lanes)
{
  return (wide){qg_load_bf16(from, (__mmask16)lanes), qg_load_bf16(from + 16, (__mmask16)(lanes >> 16))};
}

static inline void store_32(uint16_t *to, __mmask32 lanes, wide x)
{
  _mm512_mask_storeu_epi16(to, lanes, (__m512i)_mm512_cvtne2ps_pbh(x.high, x.low));
}

static inline __m512 silu_times(__m512 gate, __m512 up)
{
  return _mm512_mul_ps(_mm512_mul_ps(gate, sigmoid_16(gate)), up);
}

static void bf16_swiglu(const void *gatev, const void *upv, void *outv, int64_t count)
{
  for (int64_t j = 0; j < count; j += 32) {
    __mmask32 lanes = qg_lanes(count - j);
    wide g = load_32((const uint16_t *)gatev + j, lanes), u = load_32((const uint16_t *)upv + j, lanes);
    store_32((uint16_t *)outv + j, lanes, (wide){silu_times(g.low, u.low), silu_times(g.high, u.high)});
  }
}

typedef struct {
  __m512 d_gate, d_up, out;
} swiglu_16;

/* silu'(g) = s (1 + g (1 - s)) */
static inline swiglu_16 swiglu_gradient(__m512 g, __m512 u, __m512 d)
{
  const __m512 one = _mm512_set1_ps(1.0f);
  __m512 s = sigmoid_16(g), gs = _mm512_mul_ps(g, s);
  __m512 slope = _mm512_mul_ps(s, _mm512_fmadd_ps(g, _mm512_sub_ps(one, s), one));
  return (swiglu_16){_mm512_mul_ps(_mm512_mul_ps(d, u), slope), _mm512_mul_ps(d, gs), _mm512_mul_ps(gs, u)};
}

static void bf16_swiglu_backward(const void *gatev, const void *upv, const void *d_outv, void *d_gatev,
                                 void *d_upv, void *outv, int64_t count)
{
  for (int64_t j = 0; j < count; j += 32) {
    __mmask32 lanes = qg_lanes(count - j);
    wide g = load_32((const uint16_t *)gatev + j, lanes), u = load_32((const uint16_t *)upv + j, lanes);
    wide d = load_32((const uint16_t *)d_outv + j, lanes);
    swiglu_16 low = swiglu_gradient(g.low, u.low, d.low), high = swiglu_gradient(g.high, u.high, d.high);
    store_32((uint16_t *)d_gatev + j, lanes, (wide){low.d_gate, high.d_gate});
    store_32((uint16_t *)d_upv + j, lanes, (wide){low.d_up, high.d_up});
    if (outv) store_32((uint16_t *)outv + j, lanes, (wide){low.out, high.out});
  }
}

static float exponentials_of(const float *x, int64_t count, float shift, float *exponentials)
{
  const __m512 s = _mm512_set1_ps(shift);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t j = 0; j < count; j += 16) {
    __mmask16 lanes = (__mmask16)qg_lanes(count - j);
    __m512 e = _mm512_maskz_mov_ps(lanes, exp_16(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + j), s)));
    _mm512_mask_storeu_ps(exponentials + j, lanes, e);
    sum = _mm512_add_ps(sum, e);
  }
  return _mm512_reduce_add_ps(sum);
}

static void bf16_scale(const float *src, float factor, uint16_t *dst, int64_t count)
{
  const __m512 f = _mm512_set1_ps(factor);
  for (int64_t j = 0; j < count; j += 32) {
    __mmask32 lanes = qg_lanes(count - j);
    __m512 low = _mm512_maskz_loadu_ps((__mmask16)lanes, src + j);
    __m512 high = _mm512_maskz_loadu_ps((__mmask16)(lanes >> 16), src + j + 16);
    store_32(dst + j, lanes, (wide){_mm512_mul_ps(low, f), _mm512_mul_ps(high, f)});
  }
}
