#include "support/reference/quant_reference.h"

#include <math.h>

#include "qgalore/base.h"
#include "qgalore/numerics/adam.h"
#include "qgalore/numerics/dynamic_maps.h"

static qg_group_params fit(const float *w, int64_t n, int levels, bool include_zero)
{
  int32_t min = qg_float_key(w[0]), max = min;
  for (int64_t i = 1; i < n; i++) {
    int32_t key = qg_float_key(w[i]);
    if (key < min) min = key;
    if (key > max) max = key;
  }
  return qg_group_fit(qg_float_from_key(min), qg_float_from_key(max), levels, include_zero);
}

static int64_t group_length(int64_t count, int64_t first)
{
  return qg_min_i64(QG_GROUP, count - first);
}

void ref_quantize_int8(const float *src, int64_t count, qg_int8_rule rule, qg_int8_store dst)
{
  for (int64_t first = 0; first < count; first += QG_GROUP) {
    int64_t n = group_length(count, first), g = first / QG_GROUP;
    float w[QG_GROUP] = {0};
    for (int64_t i = 0; i < n; i++)
      w[i] = rule.bf16_arithmetic ? qg_bf16_round(src[first + i]) : src[first + i];
    qg_group_params params = fit(w, n, QG_INT8_LEVELS, rule.include_zero);
    for (int64_t i = 0; i < n; i++) dst.codes[first + i] = qg_group_encode(w[i], params, QG_INT8_LEVELS);
    dst.scale[g] = params.scale;
    dst.zero[g] = params.zero;
  }
}

void ref_dequantize_int8(qg_int8_store src, int64_t count, float *dst)
{
  for (int64_t i = 0; i < count; i++) {
    qg_group_params params = {src.scale[i / QG_GROUP], src.zero[i / QG_GROUP]};
    dst[i] = qg_group_decode(src.codes[i], params);
  }
}

void ref_quantize_int4(const float *src, int64_t count, bool include_zero, qg_int4_store dst)
{
  for (int64_t i = 0; i < (count + 1) / 2; i++) dst.codes[i] = 0;
  for (int64_t first = 0; first < count; first += QG_GROUP) {
    int64_t n = group_length(count, first), g = first / QG_GROUP;
    qg_group_params params = fit(src + first, n, QG_INT4_LEVELS, include_zero);
    for (int64_t i = first; i < first + n; i++) {
      int code = qg_group_encode(src[i], params, QG_INT4_LEVELS);
      dst.codes[i / 2] = (uint8_t)(dst.codes[i / 2] | code << (i % 2 ? 4 : 0));
    }
    dst.scale[g] = params.scale;
    dst.zero[g] = params.zero;
  }
}

void ref_dequantize_int4(qg_int4_store src, int64_t count, float *dst)
{
  for (int64_t i = 0; i < count; i++) {
    qg_group_params params = {src.scale[i / QG_GROUP], src.zero[i / QG_GROUP]};
    dst[i] = qg_group_decode(qg_nibble_get(src.codes, i), params);
  }
}

static void update_group(const qg_update_int8_args *a, int64_t offset)
{
  int64_t n = group_length(a->count, offset), element = a->first + offset, g = element / QG_GROUP;
  qg_group_params params = {a->store.scale[g], a->store.zero[g]};
  uint8_t *codes = a->store.codes + element;
  float w[QG_GROUP] = {0};
  for (int64_t i = 0; i < n; i++)
    w[i] = qg_weight_step(qg_group_decode(codes[i], params), a->update[offset + i], a->decay,
                          a->rule.bf16_arithmetic);
  params = fit(w, n, QG_INT8_LEVELS, a->rule.include_zero);
  for (int64_t i = 0; i < n; i++) {
    float u = qg_rng_unit_at(a->rng, (uint64_t)(element + i));
    codes[i] = a->rule.stochastic ? qg_group_encode_stochastic(w[i], params, QG_INT8_LEVELS, u)
                                  : qg_group_encode(w[i], params, QG_INT8_LEVELS);
  }
  a->store.scale[g] = params.scale;
  a->store.zero[g] = params.zero;
}

void ref_update_int8(const qg_update_int8_args *args)
{
  for (int64_t offset = 0; offset < args->count; offset += QG_GROUP) update_group(args, offset);
}

void ref_update_dense(const qg_update_dense_args *a)
{
  float *floats = a->weights;
  uint16_t *halves = a->weights;
  for (int64_t i = 0; i < a->count; i++) {
    uint64_t element = (uint64_t)(a->first + i);
    uint32_t word = qg_rng_draw(a->rng, element / 4).v[element % 4];
    float w = a->type == QG_F32 ? floats[i] : qg_bf16_to_float(halves[i]);
    w = qg_weight_step(w, a->update[i], a->decay, false);
    if (a->type == QG_F32) floats[i] = w;
    else
      halves[i] = a->stochastic ? qg_bf16_stochastic(w, word) : qg_bf16_from_float(w);
  }
}

/* Moments come and go as fp32; the 8-bit form only wraps a block. */
static void adam_range(const qg_adam_args *a, int64_t first, int64_t n, float *m, float *v)
{
  qg_adam_factors factors =
      qg_adam_factors_make(a->grad_scale, a->lr, a->beta1, a->beta2, a->eps, a->t, a->bounded);
  const float *floats = a->grad;
  const uint16_t *halves = a->grad;
  for (int64_t i = first; i < first + n; i++) {
    float grad = a->grad_type == QG_F32 ? floats[i] : qg_bf16_to_float(halves[i]);
    float delta = qg_adam_step(factors, grad, &m[i - first], &v[i - first]);
    if (a->delta_type == QG_F32) ((float *)a->delta)[i] = delta;
    else
      ((uint16_t *)a->delta)[i] = qg_bf16_from_float(delta);
  }
}

static float absmax(const float *x, int64_t n)
{
  float max = 0.0f;
  for (int64_t i = 0; i < n; i++) max = fmaxf(max, fabsf(x[i]));
  return max;
}

static void decode_block(const uint8_t *m_codes, const uint8_t *v_codes, float m_absmax, float v_absmax,
                         int64_t n, float *m, float *v)
{
  const qg_dynamic_maps *maps = qg_dynamic_maps_get();
  for (int64_t i = 0; i < n; i++) {
    m[i] = maps->signed_map[m_codes[i]] * m_absmax;
    v[i] = maps->unsigned_map[v_codes[i]] * v_absmax;
  }
}

static void encode_block(const float *m, const float *v, int64_t n, uint8_t *m_codes, uint8_t *v_codes,
                         float *m_absmax, float *v_absmax)
{
  const qg_dynamic_maps *maps = qg_dynamic_maps_get();
  *m_absmax = absmax(m, n);
  *v_absmax = absmax(v, n);
  for (int64_t i = 0; i < n; i++) {
    m_codes[i] = qg_dynamic_encode_signed(maps->signed_map, m[i] / *m_absmax);
    v_codes[i] = qg_dynamic_encode(maps->unsigned_map, v[i] / *v_absmax);
  }
}

static void adam_block(const qg_adam_args *a, int64_t block)
{
  enum { LONGEST_BLOCK = 8192 };
  int64_t first = block * a->block, n = qg_min_i64(a->block, a->count - first);
  uint8_t *m_codes = a->m_codes + first, *v_codes = a->v_codes + first;
  static float m[LONGEST_BLOCK], v[LONGEST_BLOCK];
  decode_block(m_codes, v_codes, a->m_absmax[block], a->v_absmax[block], n, m, v);
  adam_range(a, first, n, m, v);
  encode_block(m, v, n, m_codes, v_codes, &a->m_absmax[block], &a->v_absmax[block]);
}

void ref_adam(const qg_adam_args *args)
{
  if (args->m) {
    adam_range(args, 0, args->count, args->m, args->v);
    return;
  }
  for (int64_t block = 0; block * args->block < args->count; block++) adam_block(args, block);
}

void ref_read_moments(const qg_moments_args *a)
{
  qg_moment_scales scales = {a->c1, a->c2_squared};
  if (!a->m)
    for (int64_t e = 0, b = 0; e < a->count; e += a->block, b++)
      decode_block(a->m_codes + e, a->v_codes + e, a->m_absmax[b], a->v_absmax[b],
                   qg_min_i64(a->block, a->count - e), a->mean + e, a->variance + e);
  for (int64_t i = 0; i < a->count; i++)
    qg_moments_read(scales, a->m ? a->m[i] : a->mean[i], a->v ? a->v[i] : a->variance[i], &a->mean[i],
                    &a->variance[i]);
}

void ref_write_moments(const qg_moments_args *a)
{
  qg_moment_scales scales = {a->c1, a->c2_squared};
  for (int64_t i = 0; i < a->count; i++)
    qg_moments_write(scales, a->mean[i], a->variance[i], a->m ? &a->m[i] : &a->mean[i],
                     a->v ? &a->v[i] : &a->variance[i]);
  if (a->m) return;
  for (int64_t e = 0, b = 0; e < a->count; e += a->block, b++)
    encode_block(a->mean + e, a->variance + e, qg_min_i64(a->block, a->count - e), a->m_codes + e,
                 a->v_codes + e, &a->m_absmax[b], &a->v_absmax[b]);
}

/* Box and Muller, in double so that libraries agree after rounding. */
float ref_normal(uint64_t i, float spread)
{
  qg_rng rng = {.seed = 20240711, .purpose = QG_RNG_SYNTHETIC};
  qg_rng_block block = qg_rng_draw(rng, i);
  double radius = sqrt(-2.0 * log(1.0 - (double)qg_rng_unit(block.v[0])));
  return (float)((double)spread * radius * cos(6.283185307179586 * (double)qg_rng_unit(block.v[1])));
}
