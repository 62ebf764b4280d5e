/* INT8 and INT4 groups, and the update of weights. */
#include "cuda/kernels/groups.cuh"

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

cudaError_t qg_k_dequantize_int8(cudaStream_t stream, qg_int8_store src, int64_t count, void *dst,
                                 qg_dtype type)
{
  int64_t blocks = blocks_of_groups(count);
  if (type == QG_BF16)
    return launch(stream, blocks, THREADS, k_dequantize_int8<bf16>, src, count, static_cast<bf16 *>(dst));
  return launch(stream, blocks, THREADS, k_dequantize_int8<float>, src, count, static_cast<float *>(dst));
}

/* The unused nibble of an odd count is 0. */
__global__ void k_quantize_int4(const float *src, int64_t count, bool include_zero, qg_int4_store dst)
{
  alignas(WIDE) float w[PART];
  lane_part part = part_of_lane(count);
  if (part.group * QG_GROUP >= count) return;
  load_part(src + part.first, part.count, w);
  qg_group_params params = fit_group(w, part.count, QG_INT4_LEVELS, include_zero);
#pragma unroll
  for (int i = 0; i < PART; i += 2) {
    if (i >= part.count) break;
    uint8_t low = qg_group_encode(w[i], params, QG_INT4_LEVELS);
    uint8_t high = i + 1 < part.count ? qg_group_encode(w[i + 1], params, QG_INT4_LEVELS) : 0;
    dst.codes[(part.first + i) / 2] = static_cast<uint8_t>(low | high << 4);
  }
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
#pragma unroll
  for (int i = 0; i < PART; i += 2) {
    uint8_t pair = i < part.count ? src.codes[(part.first + i) / 2] : 0;
    w[i] = qg_group_decode(pair & 15, params);
    w[i + 1] = qg_group_decode(pair >> 4, params);
  }
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
 * of PART, so whole blocks of random words belong to the part. */
__device__ static inline void encode_stochastic(const float *w, qg_group_params params, qg_rng rng,
                                                uint64_t element, uint8_t *codes)
{
#pragma unroll
  for (int i = 0; i < PART; i += 4) {
    qg_rng_block block = qg_rng_draw(rng, (element + i) >> 2);
#pragma unroll
    for (int k = 0; k < 4; k++)
      codes[i + k] = qg_group_encode_stochastic(w[i + k], params, QG_INT8_LEVELS, qg_rng_unit(block.v[k]));
  }
}

/* Dequantise, step, fit, requantise: each weight is read and written once. */
__global__ void k_update_int8(qg_update_int8_args a)
{
  alignas(WIDE) float w[PART], update[PART];
  alignas(WIDE) uint8_t codes[PART];
  lane_part part = part_of_lane(a.count);
  if (part.group * QG_GROUP >= a.count) return;
  int64_t group = a.first / QG_GROUP + part.group;
  qg_group_params params = {a.store.scale[group], a.store.zero[group]};
  load_part(a.store.codes + a.first + part.first, part.count, codes);
  load_part(a.update + part.first, part.count, update);
#pragma unroll
  for (int i = 0; i < PART; i++)
    w[i] = qg_weight_step(qg_group_decode(codes[i], params), update[i], a.decay, a.rule.bf16_arithmetic);
  params = fit_group(w, part.count, QG_INT8_LEVELS, a.rule.include_zero);
  if (a.rule.stochastic) {
    encode_stochastic(w, params, a.rng, static_cast<uint64_t>(a.first + part.first), codes);
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

__device__ static inline void store_rounded(float *to, float w, bool, uint32_t)
{
  *to = w;
}

__device__ static inline void store_rounded(bf16 *to, float w, bool stochastic, uint32_t word)
{
  to->bits = stochastic ? qg_bf16_stochastic(w, word) : qg_bf16_from_float(w);
}

/* A thread works on the four matrix elements that share a block of random words. */
template <typename T>
__global__ void k_update_dense(qg_update_dense_args a)
{
  int64_t quad = a.first / 4 + blockIdx.x * static_cast<int64_t>(THREADS) + threadIdx.x;
  T *weights = static_cast<T *>(a.weights);
  qg_rng_block words = {{0, 0, 0, 0}};
  if (4 * quad >= a.first + a.count) return;
  if (a.stochastic) words = qg_rng_draw(a.rng, static_cast<uint64_t>(quad));
#pragma unroll
  for (int k = 0; k < 4; k++) {
    int64_t i = 4 * quad + k - a.first;
    if (i < 0 || i >= a.count) continue;
    float w = qg_weight_step(value(weights[i]), a.update[i], a.decay, false);
    store_rounded(&weights[i], w, a.stochastic, words.v[k]);
  }
}

cudaError_t qg_k_update_dense(cudaStream_t stream, const qg_update_dense_args *a)
{
  int64_t quads = a->count > 0 ? (a->first + a->count + 3) / 4 - a->first / 4 : 0;
  auto kernel = a->type == QG_BF16 ? k_update_dense<bf16> : k_update_dense<float>;
  return launch(stream, (quads + THREADS - 1) / THREADS, THREADS, kernel, *a);
}
