/* Adam with f32 or block-wise 8-bit moments, and moments as statistics. */
#include "cuda/kernels/exact_division.cuh"
#include "cuda/kernels/quantize.cuh"

__device__ static inline float gradient(const qg_adam_args &a, int64_t i)
{
  if (a.grad_type == QG_BF16) return value(static_cast<const bf16 *>(a.grad)[i]);
  return static_cast<const float *>(a.grad)[i];
}

__device__ static inline void store_delta(const qg_adam_args &a, int64_t i, float step)
{
  if (a.delta_type == QG_BF16) put(static_cast<bf16 *>(a.delta) + i, step);
  else
    put(static_cast<float *>(a.delta) + i, step);
}

__global__ void k_adam_f32(qg_adam_args a, qg_adam_factors factors)
{
  int64_t i = blockIdx.x * static_cast<int64_t>(THREADS) + threadIdx.x;
  if (i >= a.count || !qg_finite_guard_is_open(a.guard)) return;
  float m = a.m[i], v = a.v[i];
  store_delta(a, i, qg_adam_step(factors, gradient(a, i), &m, &v));
  a.m[i] = m;
  a.v[i] = v;
}

static int64_t blocks_of_threads(int64_t count)
{
  return (count + THREADS - 1) / THREADS;
}

cudaError_t qg_k_adam_f32(cudaStream_t stream, const qg_adam_args *a, qg_adam_factors factors)
{
  return launch(stream, blocks_of_threads(a->count), THREADS, k_adam_f32, *a, factors);
}

/* One block of 8-bit moments: elements [first, first + count) and its two absmax. */
struct moment_block {
  uint8_t *m_codes, *v_codes;
  float *m_absmax, *v_absmax;
  int64_t first, count;
};

template <typename Args>
__device__ static inline moment_block block_of(const Args &a)
{
  int64_t first = blockIdx.x * a.block, rest = a.count - first;
  return moment_block{a.m_codes + first,
                      a.v_codes + first,
                      a.m_absmax + blockIdx.x,
                      a.v_absmax + blockIdx.x,
                      first,
                      rest < a.block ? rest : a.block};
}

struct moment_pair {
  float m, v;
};

__device__ static inline moment_pair decode(const qg_dynamic_maps &maps, const moment_block &b,
                                            float m_absmax, float v_absmax, int64_t i)
{
  return moment_pair{maps.signed_map[b.m_codes[i]] * m_absmax, maps.unsigned_map[b.v_codes[i]] * v_absmax};
}

__device__ static inline void encode(const qg_dynamic_searches &searches, const moment_block &b,
                                     float m_absmax, float v_absmax, int64_t i, moment_pair x)
{
  b.m_codes[i] = qg_dynamic_find(&searches.of_signed, x.m / m_absmax);
  b.v_codes[i] = qg_dynamic_find(&searches.of_unsigned, x.v / v_absmax);
}

__device__ static inline void store_absmax(const moment_block &b, float m_absmax, float v_absmax)
{
  if (threadIdx.x != 0) return;
  *b.m_absmax = m_absmax;
  *b.v_absmax = v_absmax;
}

/* A thread keeps its elements of a block in registers between the two passes; blocks that are too long for
 * this are computed twice, and nothing is stored before the second pass. */
enum { KEPT = 4, KEPT_BLOCK = KEPT * THREADS };

struct adam_result {
  moment_pair moments;
  float step;
};

__device__ static inline adam_result advance(const qg_adam_args &a, const qg_adam_factors &factors,
                                             const qg_dynamic_maps &maps, const moment_block &b,
                                             float m_absmax, float v_absmax, int64_t i)
{
  adam_result r;
  r.moments = decode(maps, b, m_absmax, v_absmax, i);
  r.step = qg_adam_step(factors, gradient(a, b.first + i), &r.moments.m, &r.moments.v);
  return r;
}

/* The absmax of new moments: magnitudes compare as their keys do, and a NaN wins. */
struct magnitudes {
  int32_t m, v;
};

__device__ static inline void widen(magnitudes *most, moment_pair x)
{
  int32_t m = qg_float_key(fabsf(x.m)), v = qg_float_key(fabsf(x.v));
  most->m = m > most->m ? m : most->m;
  most->v = v > most->v ? v : most->v;
}

__global__ void k_adam_8bit(qg_adam_args a, qg_adam_factors factors, const qg_cuda_tables *tables)
{
  __shared__ int32_t parts[WARPS];
  if (!qg_finite_guard_is_open(a.guard)) return;
  moment_block b = block_of(a);
  adam_result kept[KEPT];
  magnitudes most = {0, 0};
  float m_old = *b.m_absmax, v_old = *b.v_absmax;
#pragma unroll
  for (int k = 0; k < KEPT; k++) {
    int64_t i = k * THREADS + threadIdx.x;
    if (i >= b.count) break;
    kept[k] = advance(a, factors, tables->maps, b, m_old, v_old, i);
    widen(&most, kept[k].moments);
  }
  for (int64_t i = KEPT_BLOCK + threadIdx.x; i < b.count; i += THREADS)
    widen(&most, advance(a, factors, tables->maps, b, m_old, v_old, i).moments);
  float m_absmax = qg_float_from_key(block_max(most.m, parts));
  float v_absmax = qg_float_from_key(block_max(most.v, parts));
#pragma unroll
  for (int k = 0; k < KEPT; k++) {
    int64_t i = k * THREADS + threadIdx.x;
    if (i >= b.count) break;
    encode(tables->searches, b, m_absmax, v_absmax, i, kept[k].moments);
    store_delta(a, b.first + i, kept[k].step);
  }
  for (int64_t i = KEPT_BLOCK + threadIdx.x; i < b.count; i += THREADS) {
    adam_result r = advance(a, factors, tables->maps, b, m_old, v_old, i);
    encode(tables->searches, b, m_absmax, v_absmax, i, r.moments);
    store_delta(a, b.first + i, r.step);
  }
  store_absmax(b, m_absmax, v_absmax);
}

/* Blocks of QG_GROUP, a warp each: GROUPS_OF_WARP one after the other, so that the maps are worth their way
 * into shared memory, where look-ups that scatter cost least. The tables of the searches are too large for
 * that and lie in the cache. */
enum { GROUPS_OF_WARP = 4, GROUPS_OF_BLOCK = GROUPS_OF_WARP * WARPS };

static_assert(int(QG_DYNAMIC_CODES) == int(THREADS), "a thread loads one entry of each map");

__device__ static inline void load_maps(qg_dynamic_maps *to, const qg_dynamic_maps *from)
{
  to->signed_map[threadIdx.x] = from->signed_map[threadIdx.x];
  to->unsigned_map[threadIdx.x] = from->unsigned_map[threadIdx.x];
  __syncthreads();
}

__device__ static inline void load_gradients(const qg_adam_args &a, int64_t first, int count, float *g)
{
  if (a.grad_type == QG_BF16) load_part(static_cast<const bf16 *>(a.grad) + first, count, g);
  else
    load_part(static_cast<const float *>(a.grad) + first, count, g);
}

__device__ static inline void store_deltas(const qg_adam_args &a, int64_t first, int count,
                                           const float *delta)
{
  if (a.delta_type == QG_BF16) store_part(static_cast<bf16 *>(a.delta) + first, count, delta);
  else
    store_part(static_cast<float *>(a.delta) + first, count, delta);
}

/* The greatest magnitude that the warp holds; a NaN wins. */
__device__ static inline float warp_absmax(const float *x, int count)
{
  int32_t most = 0;
#pragma unroll
  for (int i = 0; i < PART; i++) {
    int32_t key = qg_float_key(fabsf(x[i]));
    most = i < count && key > most ? key : most;
  }
  return qg_float_from_key(warp_max(most));
}

/* One kind of moment of a lane's part: values = map[codes] absmax, and back with another absmax. */
__device__ static inline void decode_part(const float *map, const uint8_t *codes, int count, float absmax,
                                          float *x)
{
  alignas(WIDE) uint8_t code[PART];
  load_part(codes, count, code);
#pragma unroll
  for (int i = 0; i < PART; i++) x[i] = map[code[i]] * absmax;
}

__device__ static inline void encode_part(const qg_dynamic_search *search, const float *x, int count,
                                          float absmax, uint8_t *codes)
{
  alignas(WIDE) uint8_t code[PART];
  float share[PART];
  divide_part(x, absmax, true, share);
#pragma unroll
  for (int i = 0; i < PART; i++) code[i] = qg_dynamic_find(search, share[i]);
  store_part(codes, count, static_cast<const uint8_t *>(code));
}

__device__ static inline void adam_group(const qg_adam_args &a, const qg_adam_factors &factors,
                                         const qg_dynamic_maps &maps, const qg_dynamic_searches &searches,
                                         const lane_part &part)
{
  alignas(WIDE) float g[PART], m[PART], v[PART];
  load_gradients(a, part.first, part.count, g);
  decode_part(maps.signed_map, a.m_codes + part.first, part.count, a.m_absmax[part.group], m);
  decode_part(maps.unsigned_map, a.v_codes + part.first, part.count, a.v_absmax[part.group], v);
#pragma unroll
  for (int i = 0; i < PART; i++) g[i] = qg_adam_step(factors, g[i], &m[i], &v[i]);
  float m_absmax = warp_absmax(m, part.count), v_absmax = warp_absmax(v, part.count);
  encode_part(&searches.of_signed, m, part.count, m_absmax, a.m_codes + part.first);
  encode_part(&searches.of_unsigned, v, part.count, v_absmax, a.v_codes + part.first);
  store_deltas(a, part.first, part.count, g);
  if (threadIdx.x % WARP != 0) return;
  a.m_absmax[part.group] = m_absmax;
  a.v_absmax[part.group] = v_absmax;
}

__global__ void k_adam_groups(qg_adam_args a, qg_adam_factors factors, const qg_cuda_tables *tables)
{
  __shared__ qg_dynamic_maps maps;
  if (!qg_finite_guard_is_open(a.guard)) return;
  load_maps(&maps, &tables->maps);
  int64_t first = blockIdx.x * static_cast<int64_t>(GROUPS_OF_BLOCK) + threadIdx.x / WARP;
  for (int64_t group = first; group < first + GROUPS_OF_BLOCK; group += WARPS)
    if (group * QG_GROUP < a.count)
      adam_group(a, factors, maps, tables->searches, part_of_group(group, a.count));
}

cudaError_t qg_k_adam_8bit(cudaStream_t stream, const qg_adam_args *a, qg_adam_factors factors,
                           const qg_cuda_tables *tables)
{
  if (a->block != QG_GROUP)
    return launch(stream, (a->count + a->block - 1) / a->block, THREADS, k_adam_8bit, *a, factors, tables);
  int64_t blocks = (qg_group_count(a->count) + GROUPS_OF_BLOCK - 1) / GROUPS_OF_BLOCK;
  return launch(stream, blocks, THREADS, k_adam_groups, *a, factors, tables);
}

__global__ void k_read_f32(qg_moments_args a)
{
  int64_t i = blockIdx.x * static_cast<int64_t>(THREADS) + threadIdx.x;
  if (i < a.count) qg_moments_read({a.c1, a.c2_squared}, a.m[i], a.v[i], &a.mean[i], &a.variance[i]);
}

__global__ void k_write_f32(qg_moments_args a)
{
  int64_t i = blockIdx.x * static_cast<int64_t>(THREADS) + threadIdx.x;
  if (i < a.count) qg_moments_write({a.c1, a.c2_squared}, a.mean[i], a.variance[i], &a.m[i], &a.v[i]);
}

__global__ void k_read_8bit(qg_moments_args a, const qg_cuda_tables *tables)
{
  moment_block b = block_of(a);
  float m_absmax = *b.m_absmax, v_absmax = *b.v_absmax;
  for (int64_t i = threadIdx.x; i < b.count; i += THREADS) {
    moment_pair x = decode(tables->maps, b, m_absmax, v_absmax, i);
    qg_moments_read({a.c1, a.c2_squared}, x.m, x.v, &a.mean[b.first + i], &a.variance[b.first + i]);
  }
}

/* The moments take the place of the statistics in between. */
__global__ void k_write_8bit(qg_moments_args a, const qg_cuda_tables *tables)
{
  __shared__ int32_t parts[WARPS];
  moment_block b = block_of(a);
  float *mean = a.mean + b.first, *variance = a.variance + b.first;
  magnitudes most = {0, 0};
  for (int64_t i = threadIdx.x; i < b.count; i += THREADS) {
    moment_pair x;
    qg_moments_write({a.c1, a.c2_squared}, mean[i], variance[i], &x.m, &x.v);
    widen(&most, x);
    mean[i] = x.m;
    variance[i] = x.v;
  }
  float m_absmax = qg_float_from_key(block_max(most.m, parts));
  float v_absmax = qg_float_from_key(block_max(most.v, parts));
  for (int64_t i = threadIdx.x; i < b.count; i += THREADS)
    encode(tables->searches, b, m_absmax, v_absmax, i, moment_pair{mean[i], variance[i]});
  store_absmax(b, m_absmax, v_absmax);
}

cudaError_t qg_k_read_moments(cudaStream_t stream, const qg_moments_args *a, const qg_cuda_tables *tables)
{
  if (a->m) return launch(stream, blocks_of_threads(a->count), THREADS, k_read_f32, *a);
  return launch(stream, (a->count + a->block - 1) / a->block, THREADS, k_read_8bit, *a, tables);
}

cudaError_t qg_k_write_moments(cudaStream_t stream, const qg_moments_args *a, const qg_cuda_tables *tables)
{
  if (a->m) return launch(stream, blocks_of_threads(a->count), THREADS, k_write_f32, *a);
  return launch(stream, (a->count + a->block - 1) / a->block, THREADS, k_write_8bit, *a, tables);
}
