/* Groups of QG_GROUP elements: one warp a group, each lane PART neighbours of it. */
#ifndef QG_CUDA_QUANTIZE_CUH
#define QG_CUDA_QUANTIZE_CUH

#include "cuda/kernels/vectorized.cuh"

static_assert(int(PART) == int(QG_GROUP) / int(WARP), "the lanes of a warp hold a group");

/* The part of a group that this lane holds. */
struct lane_part {
  int64_t group, first; /* first element, counted from the first group's */
  int count;            /* elements that exist, 0 to PART */
};

__device__ inline lane_part part_of_group(int64_t group, int64_t count)
{
  int64_t first = group * QG_GROUP + threadIdx.x % WARP * PART, rest = count - first;
  return lane_part{group, first, static_cast<int>(rest < 0 ? 0 : rest < PART ? rest : int64_t(PART))};
}

__device__ inline lane_part part_of_lane(int64_t count)
{
  return part_of_group(blockIdx.x * static_cast<int64_t>(WARPS) + threadIdx.x / WARP, count);
}

static inline int64_t blocks_of_groups(int64_t count)
{
  return (qg_group_count(count) + WARPS - 1) / WARPS;
}

/* Scale and zero of the group whose elements the lanes of this warp hold. A NaN of either sign makes the
 * range one, which is all that the formula asks of it. */
__device__ inline qg_group_params fit_group(const float *w, int count, int levels, bool include_zero)
{
  float min = INFINITY, max = -INFINITY;
  bool numbers = true;
#pragma unroll
  for (int i = 0; i < PART; i++) {
    float x = i < count ? w[i] : w[0];
    min = fminf(min, x);
    max = fmaxf(max, x);
    numbers = numbers && x == x;
  }
  int32_t least = count > 0 ? qg_float_key(min) : INT32_MAX;
  int32_t most = count > 0 ? qg_float_key(numbers ? max : NAN) : INT32_MIN;
  return qg_group_fit(qg_float_from_key(warp_min(least)), qg_float_from_key(warp_max(most)), levels,
                      include_zero);
}

/* The first lane of a group stores its parameters. */
__device__ inline void store_params(qg_group_params params, int64_t group, float *scale, uint8_t *zero)
{
  if (threadIdx.x % WARP != 0) return;
  scale[group] = params.scale;
  zero[group] = params.zero;
}

#endif
