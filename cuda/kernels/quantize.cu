/* INT8 and INT4 groups, and the update of weights. */
#include "cuda/kernels/exact_division.cuh"
#include "cuda/kernels/quantize.cuh"

__global__ void k_quantize_int8(const float *src, int64_t count, qg_int8_rule rule, qg_int8_store dst)
{
  alignas(WIDE) float w[PART];
  alignas(WIDE) uint8_t codes[PART];
  lane_part part = part_of_lane(count);
  if (part.group * QG_GROUP >= count) return;
  load_part(src + part.first, part.count, w);
#pragma unroll
  for (int i = 0; i < PART; i++) w[i] = rule.bf16_arithmetic ? qg_bf16_round(w[i]) : w[i];
  qg_group_params params = fit_group(w, part.count, QG_INT8_LEVELS, rule.include_zero);
#pragma unroll
  for (int i = 0; i < PART; i++) codes[i] = qg_group_encode(w[i], params, QG_INT8_LEVELS);
  store_part(dst.codes + part.first, part.count, codes);
  store_params(params, part.group, dst.scale, dst.zero);
}

cudaError_t qg_k_quantize_int8(cudaStream_t stream, const float *src, int64_t count, qg_int8_rule rule,
                               qg_int8_store dst)
{
  return launch(stream, blocks_of_groups(count), THREADS, k_quantize_int8, src, count, rule, dst);
}

template <typename T>
__global__ void k_dequantize_int8(qg_int8_store src, int64_t count, T *dst)
{
  alignas(WIDE) float w[PART];
  alignas(WIDE) uint8_t codes[PART];
  lane_part part = part_of_lane(count);
  if (part.count == 0) return;
  qg_group_params params = {src.scale[part.group], src.zero[part.group]};
  load_part(src.codes + part.first, part.count, codes);
#pragma unroll
  for (int i = 0; i < PART; i++) w[i] = qg_group_decode(codes[i], params);
  store_part(dst + part.first, part.count, w);
}

/* Into padded rows: by parts of rows, which begin anywhere in a group and may reach
 * into the next. */
template <typename T>
__global__ void k_dequantize_int8_rows(qg_int8_store src, qg_view dst)
{
  for_part(dst.rows, dst.cols, [&](int64_t i, int64_t j, int count) {
    alignas(WIDE) float w[PART];
    alignas(WIDE) uint8_t codes[PART];
    int64_t first = i * dst.cols + j;
    load_part(static_cast<const uint8_t *>(src.codes + first), count, codes);
    int64_t low = first / QG_GROUP, high = (first + count - 1) / QG_GROUP;
    int of_low = static_cast<int>((low + 1) * QG_GROUP - first);
    qg_group_params params = {src.scale[low], src.zero[low]}, next = {src.scale[high], src.zero[high]};
#pragma unroll
    for (int k = 0; k < PART; k++) w[k] = qg_group_decode(codes[k], k < of_low ? params : next);
    store_part(row_of<T>(dst, i) + j, count, static_cast<const float *>(w));
  });
}

template <typename T>
static cudaError_t dequantize_int8(cudaStream_t stream, qg_int8_store src, qg_view dst)
{
  int64_t count = dst.rows * dst.cols;
  if (dst.stride != dst.cols)
    return launch(stream, blocks_of_parts(dst.rows, dst.cols), THREADS, k_dequantize_int8_rows<T>, src, dst);
  return launch(stream, blocks_of_groups(count), THREADS, k_dequantize_int8<T>, src, count,
                static_cast<T *>(dst.data));
}

cudaError_t qg_k_dequantize_int8(cudaStream_t stream, qg_int8_store src, qg_view dst)
{
  return dst.type == QG_BF16 ? dequantize_int8<bf16>(stream, src, dst)
                             : dequantize_int8<float>(stream, src, dst);
}

/* Packed codes of a part: PART / 2 bytes, in one access where all of them exist. */
struct alignas(4) packed_part {
  uint8_t pairs[PART / 2];
};

__device__ static inline bool is_packed_wide(const uint8_t *codes, int count)
{
  return count == PART && reinterpret_cast<uintptr_t>(codes) % alignof(packed_part) == 0;
}

__device__ static inline packed_part load_packed(const uint8_t *codes, int count)
{
  packed_part packed;
  if (is_packed_wide(codes, count)) return *reinterpret_cast<const packed_part *>(codes);
#pragma unroll
  for (int i = 0; i < PART / 2; i++) packed.pairs[i] = 2 * i < count ? codes[i] : uint8_t(0);
  return packed;
}

__device__ static inline void store_packed(packed_part packed, uint8_t *codes, int count)
{
  if (is_packed_wide(codes, count)) {
    *reinterpret_cast<packed_part *>(codes) = packed;
    return;
  }
#pragma unroll
  for (int i = 0; i < PART / 2; i++)
    if (2 * i < count) codes[i] = packed.pairs[i];
}

/* The unused nibble of an odd count is 0. */
__global__ void k_quantize_int4(const float *src, int64_t count, bool include_zero, qg_int4_store dst)
{
  alignas(WIDE) float w[PART];
  packed_part packed;
  lane_part part = part_of_lane(count);
  if (part.group * QG_GROUP >= count) return;
  load_part(src + part.first, part.count, w);
  qg_group_params params = fit_group(w, part.count, QG_INT4_LEVELS, include_zero);
#pragma unroll
  for (int i = 0; i < PART; i += 2) {
    uint8_t low = qg_group_encode(w[i], params, QG_INT4_LEVELS);
    uint8_t high = i + 1 < part.count ? qg_group_encode(w[i + 1], params, QG_INT4_LEVELS) : 0;
    packed.pairs[i / 2] = static_cast<uint8_t>(low | high << 4);
  }
  store_packed(packed, dst.codes + part.first / 2, part.count);
  store_params(params, part.group, dst.scale, dst.zero);
}

cudaError_t qg_k_quantize_int4(cudaStream_t stream, const float *src, int64_t count, bool include_zero,
                               qg_int4_store dst)
{
  return launch(stream, blocks_of_groups(count), THREADS, k_quantize_int4, src, count, include_zero, dst);
}

template <typename T>
__global__ void k_dequantize_int4(qg_int4_store src, int64_t count, T *dst)
{
  alignas(WIDE) float w[PART];
  lane_part part = part_of_lane(count);
  if (part.count == 0) return;
  qg_group_params params = {src.scale[part.group], src.zero[part.group]};
  packed_part packed = load_packed(src.codes + part.first / 2, part.count);
#pragma unroll
  for (int i = 0; i < PART; i++)
    w[i] = qg_group_decode(static_cast<uint8_t>(packed.pairs[i / 2] >> i % 2 * 4 & 15), params);
  store_part(dst + part.first, part.count, w);
}

cudaError_t qg_k_dequantize_int4(cudaStream_t stream, qg_int4_store src, int64_t count, void *dst,
                                 qg_dtype type)
{
  int64_t blocks = blocks_of_groups(count);
  if (type == QG_BF16)
    return launch(stream, blocks, THREADS, k_dequantize_int4<bf16>, src, count, static_cast<bf16 *>(dst));
  return launch(stream, blocks, THREADS, k_dequantize_int4<float>, src, count, static_cast<float *>(dst));
}

/* Codes of a lane's part with stochastic rounding. `element` counts from the matrix's first; it is a multiple
 * of PART, so whole blocks of random words belong to the part. A range that contains 0 is no more than
 * QG_INT8_LEVELS scales away from it. */
__device__ static inline void encode_stochastic(const float *w, qg_group_params params, qg_int8_rule rule,
                                                qg_rng rng, uint64_t element, uint8_t *codes)
{
  float steps[PART];
  divide_part(w, params.scale, rule.include_zero, steps);
#pragma unroll
  for (int i = 0; i < PART; i += 4) {
    qg_rng_block block = qg_rng_draw(rng, (element + i) >> 2);
#pragma unroll
    for (int k = 0; k < 4; k++)
      codes[i + k] =
          qg_group_code(qg_round_stochastic(steps[i + k], qg_rng_unit(block.v[k])), params, QG_INT8_LEVELS);
  }
}

/* Dequantise, step, fit, requantise: each weight is read and written once. */
__global__ void k_update_int8(qg_update_int8_args a)
{
  alignas(WIDE) float w[PART], update[PART];
  alignas(WIDE) uint8_t codes[PART];
  lane_part part = part_of_lane(a.count);
  if (part.group * QG_GROUP >= a.count || !qg_finite_guard_is_open(a.guard)) return;
  int64_t group = a.first / QG_GROUP + part.group;
  qg_group_params params = {a.store.scale[group], a.store.zero[group]};
  load_part(a.store.codes + a.first + part.first, part.count, codes);
  load_part(a.update + part.first, part.count, update);
#pragma unroll
  for (int i = 0; i < PART; i++)
    w[i] = qg_weight_step(qg_group_decode(codes[i], params), update[i], a.decay, a.rule.bf16_arithmetic);
  params = fit_group(w, part.count, QG_INT8_LEVELS, a.rule.include_zero);
  if (a.rule.stochastic) {
    encode_stochastic(w, params, a.rule, a.rng, static_cast<uint64_t>(a.first + part.first), codes);
  } else {
#pragma unroll
    for (int i = 0; i < PART; i++) codes[i] = qg_group_encode(w[i], params, QG_INT8_LEVELS);
  }
  store_part(a.store.codes + a.first + part.first, part.count, codes);
  store_params(params, group, a.store.scale, a.store.zero);
}

cudaError_t qg_k_update_int8(cudaStream_t stream, const qg_update_int8_args *a)
{
  return launch(stream, blocks_of_groups(a->count), THREADS, k_update_int8, *a);
}

/* The part of a matrix that a thread of k_update_dense works on: elements 8 p to 8 p + 7 share two blocks of
 * random words; of them [low, high) are updated. */
struct window {
  int64_t first; /* counted from the first that is updated; negative if that one lies inside */
  int low, high;
  bool whole;
};

__device__ static inline window window_of(int64_t part, int64_t first, int64_t count)
{
  int64_t at = part * PART - first, rest = count - at;
  int low = static_cast<int>(at < 0 ? -at : 0), high = static_cast<int>(rest < PART ? rest : int64_t(PART));
  return window{at, low, high, low == 0 && high == PART};
}

template <typename T>
__device__ static inline void load_window(const T *from, const window &w, float *x)
{
  if (w.whole) {
    load_part(from + w.first, PART, x);
    return;
  }
#pragma unroll
  for (int i = 0; i < PART; i++) x[i] = i >= w.low && i < w.high ? value(from[w.first + i]) : 0.0f;
}

template <typename T>
__device__ static inline void store_window(T *to, const window &w, const T *x)
{
  if (w.whole) {
    store_part(to + w.first, PART, x);
    return;
  }
#pragma unroll
  for (int i = 0; i < PART; i++)
    if (i >= w.low && i < w.high) to[w.first + i] = x[i];
}

__device__ static inline void put_rounded(float *to, float w, bool, uint32_t)
{
  *to = w;
}

__device__ static inline void put_rounded(bf16 *to, float w, bool stochastic, uint32_t word)
{
  to->bits = stochastic ? qg_bf16_stochastic(w, word) : qg_bf16_from_float(w);
}

template <typename T>
__global__ void k_update_dense(qg_update_dense_args a)
{
  alignas(WIDE) float w[PART], update[PART];
  alignas(WIDE) T rounded[PART];
  int64_t part = a.first / PART + blockIdx.x * static_cast<int64_t>(THREADS) + threadIdx.x;
  T *weights = static_cast<T *>(a.weights);
  if (part * PART >= a.first + a.count || !qg_finite_guard_is_open(a.guard)) return;
  window at = window_of(part, a.first, a.count);
  load_window(static_cast<const T *>(weights), at, w);
  load_window(a.update, at, update);
#pragma unroll
  for (int i = 0; i < PART; i += 4) {
    qg_rng_block words = {{0, 0, 0, 0}};
    if (a.stochastic) words = qg_rng_draw(a.rng, static_cast<uint64_t>(part * PART + i) >> 2);
#pragma unroll
    for (int k = 0; k < 4; k++)
      put_rounded(&rounded[i + k], qg_weight_step(w[i + k], update[i + k], a.decay, false), a.stochastic,
                  words.v[k]);
  }
  store_window(weights, at, static_cast<const T *>(rounded));
}

cudaError_t qg_k_update_dense(cudaStream_t stream, const qg_update_dense_args *a)
{
  int64_t parts = a->count > 0 ? (a->first + a->count + PART - 1) / PART - a->first / PART : 0;
  auto kernel = a->type == QG_BF16 ? k_update_dense<bf16> : k_update_dense<float>;
  return launch(stream, (parts + THREADS - 1) / THREADS, THREADS, kernel, *a);
}
