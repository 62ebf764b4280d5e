/* Loops of constant length QG_GROUP vectorise without a remainder, so a short group is padded to a whole one
 * in scratch and only its own part is stored. */
#include "backend/cpu/isa/quant_kernels.h"

#include <stdalign.h>

#include "backend/cpu/isa/draw_words.h"
#include "backend/cpu/isa/table_lookup.h"
#include "qgalore/numerics/dynamic_maps.h"

/* Elements of an 8-bit moment block that are worked on at once. */
enum { TILE = 2048, STRIP = 64 };

static void decode_group(const uint8_t *restrict codes, qg_group_params params, int n, float *restrict w)
{
  for (int i = 0; i < n; i++) w[i] = qg_group_decode(codes[i], params);
}

static void store_floats(qg_out dst, const float *restrict x, int n)
{
  if (!dst.bf16) {
    memcpy(dst.data, x, (size_t)n * sizeof *x);
    return;
  }
  uint16_t *restrict out = dst.data;
  for (int i = 0; i < n; i++) out[i] = qg_bf16_from_float(x[i]);
}

/* Copies of an element of the group change neither its least nor its greatest. */
static void pad_group(float *w, int n)
{
  for (int i = n; i < QG_GROUP; i++) w[i] = w[0];
}

static qg_group_params fit_group(const float *w, int levels, bool include_zero)
{
  int32_t min = INT32_MAX, max = INT32_MIN;
  for (int i = 0; i < QG_GROUP; i++) {
    int32_t key = qg_float_key(w[i]);
    min = key < min ? key : min;
    max = key > max ? key : max;
  }
  return qg_group_fit(qg_float_from_key(min), qg_float_from_key(max), levels, include_zero);
}

static void encode_nearest(const float *restrict w, qg_group_params params, int levels,
                           uint8_t *restrict codes)
{
  for (int i = 0; i < QG_GROUP; i++) codes[i] = qg_group_encode(w[i], params, levels);
}

/* The words of elements element .. element + QG_GROUP; element is a multiple of QG_GROUP. */
static void draw_group(qg_rng rng, uint64_t element, uint32_t *restrict words)
{
  uint64_t first = element >> 2;
  for (uint32_t i = 0; i < QG_GROUP / 4; i += DRAW_BLOCKS) draw_eight(rng, first | i, words + 4 * i);
}

static void encode_stochastic(const float *restrict w, qg_group_params params, const uint32_t *restrict words,
                              uint8_t *restrict codes)
{
  for (int i = 0; i < QG_GROUP; i++)
    codes[i] = qg_group_encode_stochastic(w[i], params, QG_INT8_LEVELS, qg_rng_unit(words[i]));
}

static void store_params(qg_group_params params, float *scale, uint8_t *zero)
{
  *scale = params.scale;
  *zero = params.zero;
}

static void quantize_int8(const float *src, int n, qg_int8_rule rule, qg_int8_store dst)
{
  alignas(64) float w[QG_GROUP];
  alignas(64) uint8_t codes[QG_GROUP];
  for (int i = 0; i < n; i++) w[i] = rule.bf16_arithmetic ? qg_bf16_round(src[i]) : src[i];
  pad_group(w, n);
  qg_group_params params = fit_group(w, QG_INT8_LEVELS, rule.include_zero);
  encode_nearest(w, params, QG_INT8_LEVELS, codes);
  memcpy(dst.codes, codes, (size_t)n);
  store_params(params, dst.scale, dst.zero);
}

static void dequantize_int8(qg_int8_store src, int n, qg_out dst)
{
  qg_group_params params = {*src.scale, *src.zero};
  if (!dst.bf16) {
    decode_group(src.codes, params, n, dst.data);
    return;
  }
  const uint8_t *restrict codes = src.codes;
  uint16_t *restrict out = dst.data;
  for (int i = 0; i < n; i++) out[i] = qg_bf16_from_float(qg_group_decode(codes[i], params));
}

static void quantize_int4(const float *src, int n, bool include_zero, qg_int4_store dst)
{
  alignas(64) float w[QG_GROUP];
  alignas(64) uint8_t codes[QG_GROUP];
  memcpy(w, src, (size_t)n * sizeof *src);
  pad_group(w, n);
  qg_group_params params = fit_group(w, QG_INT4_LEVELS, include_zero);
  encode_nearest(w, params, QG_INT4_LEVELS, codes);
  if (n % 2) codes[n] = 0; /* the unused nibble */
  for (int i = 0; i < (n + 1) / 2; i++) dst.codes[i] = (uint8_t)(codes[2 * i] | codes[2 * i + 1] << 4);
  store_params(params, dst.scale, dst.zero);
}

static void dequantize_int4(qg_int4_store src, int n, qg_out dst)
{
  alignas(64) float w[QG_GROUP + 1];
  qg_group_params params = {*src.scale, *src.zero};
  const uint8_t *restrict packed = src.codes;
  for (int i = 0; i < (n + 1) / 2; i++) {
    w[2 * i] = qg_group_decode(packed[i] & 15, params);
    w[2 * i + 1] = qg_group_decode(packed[i] >> 4, params);
  }
  store_floats(dst, w, n);
}

static void step_weights(float *restrict w, const float *restrict update, int n, float decay,
                         bool bf16_arithmetic)
{
  if (bf16_arithmetic)
    for (int i = 0; i < n; i++) w[i] = qg_weight_step(w[i], update[i], decay, true);
  else
    for (int i = 0; i < n; i++) w[i] = qg_weight_step(w[i], update[i], decay, false);
}

static void update_int8(qg_int8_store store, const float *update, int n, float decay, qg_int8_rule rule,
                        qg_rng rng, uint64_t element)
{
  alignas(64) float w[QG_GROUP];
  alignas(64) uint8_t codes[QG_GROUP];
  qg_group_params params = {*store.scale, *store.zero};
  decode_group(store.codes, params, n, w);
  step_weights(w, update, n, decay, rule.bf16_arithmetic);
  pad_group(w, n);
  params = fit_group(w, QG_INT8_LEVELS, rule.include_zero);
  if (rule.stochastic) {
    alignas(64) uint32_t words[QG_GROUP];
    draw_group(rng, element, words);
    encode_stochastic(w, params, words, codes);
  } else {
    encode_nearest(w, params, QG_INT8_LEVELS, codes);
  }
  memcpy(store.codes, codes, (size_t)n);
  store_params(params, store.scale, store.zero);
}

static void update_dense(qg_out weights, const float *update, int skip, int n, float decay, bool stochastic,
                         qg_rng rng, uint64_t element)
{
  if (!weights.bf16) {
    step_weights(weights.data, update, n, decay, false);
    return;
  }
  alignas(64) float w[QG_GROUP];
  uint16_t *restrict stored = weights.data;
  for (int i = 0; i < n; i++) w[i] = qg_bf16_to_float(stored[i]);
  step_weights(w, update, n, decay, false);
  if (!stochastic) {
    store_floats(weights, w, n);
    return;
  }
  alignas(64) uint32_t words[QG_GROUP];
  draw_group(rng, element, words);
  for (int i = 0; i < n; i++) stored[i] = qg_bf16_stochastic(w[i], words[skip + i]);
}

static int tile_length(int64_t n, int64_t first)
{
  return (int)(n - first < TILE ? n - first : TILE);
}

static qg_out out_from(qg_out out, int64_t first)
{
  return (qg_out){(char *)out.data + (size_t)first * (out.bf16 ? 2 : 4), out.bf16};
}

/* Elements [first, first + n) in fp32: where they lie, or widened into `tile`. */
static const float *load_floats(qg_in in, int64_t first, int n, float *restrict tile)
{
  if (!in.bf16) return (const float *)in.data + first;
  const uint16_t *restrict from = (const uint16_t *)in.data + first;
  for (int i = 0; i < n; i++) tile[i] = qg_bf16_to_float(from[i]);
  return tile;
}

static void adam_f32(qg_adam_factors factors, qg_in grad, int64_t n, float *restrict m, float *restrict v,
                     qg_out delta)
{
  alignas(64) float step[TILE], widened[TILE];
  for (int64_t first = 0; first < n; first += TILE) {
    int count = tile_length(n, first);
    const float *g = load_floats(grad, first, count, widened);
    for (int i = 0; i < count; i++) step[i] = qg_adam_step(factors, g[i], &m[first + i], &v[first + i]);
    store_floats(out_from(delta, first), step, count);
  }
}

/* One tile of a block, in fp32. */
typedef struct {
  alignas(64) float m[TILE], v[TILE], step[TILE], grad[TILE];
} moment_tile;

static void decode_codes(const float *restrict map, float absmax, const uint8_t *restrict codes, int64_t n,
                         float *restrict out)
{
  for (int64_t i = look_up_values(map, absmax, codes, n, out); i < n; i++) out[i] = map[codes[i]] * absmax;
}

static void decode_moments(qg_moment_block moments, int64_t n, float *restrict m, float *restrict v)
{
  const qg_dynamic_maps *maps = qg_dynamic_maps_get();
  decode_codes(maps->signed_map, *moments.m_absmax, moments.m_codes, n, m);
  decode_codes(maps->unsigned_map, *moments.v_absmax, moments.v_codes, n, v);
}

/* n <= TILE. What is not looked up many at once goes in two loops: arithmetic, which vectorises, and
 * look-ups. */
static void encode_codes(const qg_dynamic_search *restrict search, const float *restrict x, float absmax,
                         int n, uint8_t *restrict codes)
{
  alignas(64) uint32_t where[TILE];
  int first = look_up_codes(search, x, absmax, n, codes);
  for (int i = first; i < n; i++) {
    float ratio = x[i] / absmax;
    where[i] = qg_dynamic_locate(ratio == ratio ? ratio : 0.0f);
  }
  for (int i = first; i < n; i++) codes[i] = qg_dynamic_code_at(search, where[i]);
}

static qg_moment_block moments_at(qg_moment_block moments, int64_t first)
{
  moments.m_codes += first;
  moments.v_codes += first;
  return moments;
}

/* n <= TILE elements; the block's absmax are known already. */
static void encode_tile(const float *m, const float *v, float m_absmax, float v_absmax, int n,
                        qg_moment_block moments)
{
  const qg_dynamic_searches *searches = qg_dynamic_searches_get();
  encode_codes(&searches->of_signed, m, m_absmax, n, moments.m_codes);
  encode_codes(&searches->of_unsigned, v, v_absmax, n, moments.v_codes);
}

/* Elements [first, first + n) of a block after the step, in strips so short that the processor decodes the next one
 * while it divides for this one. */
static void advance_tile(qg_adam_factors factors, qg_in grad, int64_t first, int n, qg_moment_block old,
                         moment_tile *restrict tile)
{
  const float *g = load_floats(grad, first, n, tile->grad);
  for (int from = 0; from < n; from += STRIP) {
    int end = from + STRIP < n ? from + STRIP : n;
    decode_moments(moments_at(old, first + from), end - from, tile->m + from, tile->v + from);
    for (int i = from; i < end; i++) tile->step[i] = qg_adam_step(factors, g[i], &tile->m[i], &tile->v[i]);
  }
}

/* Magnitudes compare as their bits do, and a NaN wins: it must show. */
static float greatest_magnitude(const float *x, int64_t n, float so_far)
{
  int32_t max = qg_float_key(so_far);
  for (int64_t i = 0; i < n; i++) {
    int32_t key = qg_float_key(fabsf(x[i]));
    max = key > max ? key : max;
  }
  return qg_float_from_key(max);
}

/* The codes need the absmax of the whole block, which needs every new moment. Blocks longer than a tile are
 * therefore computed twice; nothing is stored in the first pass, so delta may share memory with grad. */
static void adam_8bit(qg_adam_factors factors, qg_in grad, int64_t n, qg_moment_block moments, qg_out delta)
{
  moment_tile tile;
  float m_absmax = 0.0f, v_absmax = 0.0f;
  for (int64_t first = 0; first < n; first += TILE) {
    int count = tile_length(n, first);
    advance_tile(factors, grad, first, count, moments, &tile);
    m_absmax = greatest_magnitude(tile.m, count, m_absmax);
    v_absmax = greatest_magnitude(tile.v, count, v_absmax);
  }
  for (int64_t first = 0; first < n; first += TILE) {
    int count = tile_length(n, first);
    if (n > TILE) advance_tile(factors, grad, first, count, moments, &tile);
    encode_tile(tile.m, tile.v, m_absmax, v_absmax, count, moments_at(moments, first));
    store_floats(out_from(delta, first), tile.step, count);
  }
  *moments.m_absmax = m_absmax;
  *moments.v_absmax = v_absmax;
}

static void encode_moments(const float *m, const float *v, int64_t n, qg_moment_block moments)
{
  float m_absmax = greatest_magnitude(m, n, 0.0f), v_absmax = greatest_magnitude(v, n, 0.0f);
  for (int64_t first = 0; first < n; first += TILE)
    encode_tile(m + first, v + first, m_absmax, v_absmax, tile_length(n, first), moments_at(moments, first));
  *moments.m_absmax = m_absmax;
  *moments.v_absmax = v_absmax;
}

static void moments_to_statistics(qg_moment_scales scales, const float *m, const float *v, int64_t n,
                                  float *mean, float *variance)
{
#pragma omp simd
  for (int64_t i = 0; i < n; i++) qg_moments_read(scales, m[i], v[i], &mean[i], &variance[i]);
}

static void statistics_to_moments(qg_moment_scales scales, const float *mean, const float *variance,
                                  int64_t n, float *m, float *v)
{
#pragma omp simd
  for (int64_t i = 0; i < n; i++) qg_moments_write(scales, mean[i], variance[i], &m[i], &v[i]);
}

const qg_quant_kernels QG_ISA_NAME(qg_quant_kernels) = {
    .quantize_int8 = quantize_int8,
    .dequantize_int8 = dequantize_int8,
    .quantize_int4 = quantize_int4,
    .dequantize_int4 = dequantize_int4,
    .update_int8 = update_int8,
    .update_dense = update_dense,
    .adam_f32 = adam_f32,
    .adam_8bit = adam_8bit,
    .moments_to_statistics = moments_to_statistics,
    .statistics_to_moments = statistics_to_moments,
    .decode_moments = decode_moments,
    .encode_moments = encode_moments,
};
