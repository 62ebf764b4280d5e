/* Groups of QG_GROUP elements: one warp a group, each lane LANE neighbours of it. */
#ifndef QG_CUDA_GROUPS_CUH
#define QG_CUDA_GROUPS_CUH

#include "cuda/kernels/common.cuh"

enum { LANE = QG_GROUP / WARP };

/* The part of a group that this lane holds. */
struct lane_part {
  int64_t group, first; /* first element, counted from the first group's */
  int count;            /* elements that exist, 0 to LANE */
};

__device__ inline lane_part part_of_lane(int64_t count)
{
  int64_t group = blockIdx.x * static_cast<int64_t>(WARPS) + threadIdx.x / WARP;
  int64_t first = group * QG_GROUP + threadIdx.x % WARP * LANE, rest = count - first;
  return lane_part{group, first, static_cast<int>(rest < 0 ? 0 : rest < LANE ? rest : int64_t(LANE))};
}

static inline int64_t blocks_of_groups(int64_t count)
{
  return (qg_group_count(count) + WARPS - 1) / WARPS;
}

/* A whole part moves in wide accesses where its address allows them. */
enum { WIDE = 16 };

template <typename T>
struct alignas(LANE * sizeof(T) < WIDE ? LANE * sizeof(T) : size_t(WIDE)) whole_part {
  T x[LANE];
};

template <typename T>
__device__ inline bool is_wide(const T *address, int count)
{
  return count == LANE && reinterpret_cast<uintptr_t>(address) % alignof(whole_part<T>) == 0;
}

/* x = part, and 0 where no element exists. */
template <typename T>
__device__ inline void load_part(const T *from, int count, T *x)
{
  if (is_wide(from, count)) {
    *reinterpret_cast<whole_part<T> *>(x) = *reinterpret_cast<const whole_part<T> *>(from);
    return;
  }
#pragma unroll
  for (int i = 0; i < LANE; i++) x[i] = i < count ? from[i] : T();
}

template <typename T>
__device__ inline void store_part(T *to, int count, const T *x)
{
  if (is_wide(to, count)) {
    *reinterpret_cast<whole_part<T> *>(to) = *reinterpret_cast<const whole_part<T> *>(x);
    return;
  }
#pragma unroll
  for (int i = 0; i < LANE; i++)
    if (i < count) to[i] = x[i];
}

__device__ inline void store_part(bf16 *to, int count, const float *x)
{
  alignas(WIDE) bf16 half[LANE];
#pragma unroll
  for (int i = 0; i < LANE; i++) put(&half[i], x[i]);
  store_part(to, count, static_cast<const bf16 *>(half));
}

/* Scale and zero of the group whose elements the lanes of this warp hold. */
__device__ inline qg_group_params fit_group(const float *w, int count, int levels, bool include_zero)
{
  int32_t min = INT32_MAX, max = INT32_MIN;
#pragma unroll
  for (int i = 0; i < LANE; i++) {
    if (i >= count) break;
    int32_t key = qg_float_key(w[i]);
    min = key < min ? key : min;
    max = key > max ? key : max;
  }
  return qg_group_fit(qg_float_from_key(warp_min(min)), qg_float_from_key(warp_max(max)), levels,
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
