/* The quantised number formats: INT8 and INT4 groups, the dynamic 8-bit map, bf16.
 *
 * One definition of each formula, compiled for the host and for the device, so that every
 * backend stores the same codes. Array versions belong to the backends; src/quant holds the
 * tables. Compile without contraction of a*b+c (-ffp-contract=off, nvcc -fmad=false), or bits differ.
 * Arithmetic keeps subnormal numbers (no flush to zero), or the ends of the dynamic maps differ. */
#ifndef QGALORE_QUANT_H
#define QGALORE_QUANT_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "qgalore/philox.h" /* QG_HD */

enum { QG_GROUP = 256, QG_INT8_LEVELS = 255, QG_INT4_LEVELS = 15, QG_DYNAMIC_CODES = 256 };

static inline int64_t qg_group_count(int64_t elements)
{
  return (elements + QG_GROUP - 1) / QG_GROUP;
}

/* bf16: the upper half of an fp32. To nearest even; NaN stays NaN. */
QG_HD uint16_t qg_bf16_from_float(float x)
{
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
  return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

QG_HD float qg_bf16_to_float(uint16_t h)
{
  uint32_t bits = (uint32_t)h << 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

QG_HD float qg_bf16_round(float x)
{
  return qg_bf16_to_float(qg_bf16_from_float(x));
}

/* bf16 with stochastic rounding: the magnitude is rounded up with the probability of the discarded
 * 16 bits, decided by the upper 16 bits of `word`. Infinity and NaN stay what they are. */
QG_HD uint16_t qg_bf16_stochastic(float x, uint32_t word)
{
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7f800000u) == 0x7f800000u) return qg_bf16_from_float(x);
  return (uint16_t)((bits + (word >> 16)) >> 16);
}

/* Finite values ordered as integers: key(a) < key(b) if a < b. A NaN lies beyond the infinity of its sign. So
 * the least and the greatest of a group do not depend on the order of the reduction, and a NaN is never
 * overlooked. */
QG_HD int32_t qg_float_key(float x)
{
  int32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits < 0 ? bits ^ 0x7fffffff : bits;
}

QG_HD float qg_float_from_key(int32_t key)
{
  int32_t bits = key < 0 ? key ^ 0x7fffffff : key;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* Scale and zero point of one group (doc/method.md section 2): w is about (code - zero) * scale. */
typedef struct {
  float scale;
  uint8_t zero;
} qg_group_params;

/* NaN gives `low`. Comparisons and not fminf, fmaxf: these vectorise, and the order of NaN is settled. */
QG_HD float qg_clamp(float x, float low, float high)
{
  x = x > low ? x : low;
  return x < high ? x : high;
}

/* range = max(max - min, 1e-5); s = range / levels; z = clamp(-round(min / s), 0, levels). min and max are
 * the least and the greatest element by qg_float_key. include_zero widens [min, max] to contain 0, so that 0
 * has a code and one-signed groups keep their resolution (without it z saturates: the reference's defect). A
 * group whose range is not finite gets an infinite scale: all its codes equal its zero, and it decodes to
 * NaN. Weights that left the finite numbers must show in the loss, not hide behind a code. */
QG_HD qg_group_params qg_group_fit(float min, float max, int levels, bool include_zero)
{
  if (include_zero) {
    min = min > 0.0f ? 0.0f : min;
    max = max < 0.0f ? 0.0f : max;
  }
  float range = max - min;
  if (!(range <= FLT_MAX)) range = INFINITY;
  qg_group_params p;
  p.scale = (range < 1e-5f ? 1e-5f : range) / (float)levels;
  p.zero = (uint8_t)(int)qg_clamp(-rintf(min / p.scale), 0.0f, (float)levels);
  return p;
}

/* Rounds v up with the probability of its fraction: floor(v) + [u < v - floor(v)], u uniform in [0, 1).
 * floor by way of rintf, and comparisons as numbers, because this vectorises under strict floating-point
 * rules where floorf and branches do not. */
QG_HD float qg_round_stochastic(float v, float u)
{
  float low = rintf(v);
  low += (float)-(low > v);
  return low + (float)(int)(u < v - low);
}

/* The code of w with round(w / s) = rounded: clamp(rounded + z, 0, levels). */
QG_HD uint8_t qg_group_code(float rounded, qg_group_params p, int levels)
{
  return (uint8_t)(int)qg_clamp(rounded + (float)p.zero, 0.0f, (float)levels);
}

/* To nearest, half to even. */
QG_HD uint8_t qg_group_encode(float w, qg_group_params p, int levels)
{
  return qg_group_code(rintf(w / p.scale), p, levels);
}

/* Unbiased, but for the last half step at the ends of the range, where the clamp may cut. */
QG_HD uint8_t qg_group_encode_stochastic(float w, qg_group_params p, int levels, float u)
{
  return qg_group_code(qg_round_stochastic(w / p.scale, u), p, levels);
}

QG_HD float qg_group_decode(uint8_t code, qg_group_params p)
{
  return (float)((int)code - (int)p.zero) * p.scale;
}

/* A weight after its update: w + update - decay * w in fp32. With bf16_arithmetic w, the update, their sum
 * and the decayed sum are each rounded to bf16, in the order of the reference: decay acts on the updated
 * weight. */
QG_HD float qg_weight_step(float w, float update, float decay, bool bf16_arithmetic)
{
  if (!bf16_arithmetic) return w + update - decay * w;
  float sum = qg_bf16_round(qg_bf16_round(w) + qg_bf16_round(update));
  return qg_bf16_round(sum - decay * sum);
}

/* Packed INT4: element i of a row of nibbles, even element low. */
QG_HD uint8_t qg_nibble_get(const uint8_t *packed, int64_t i)
{
  return (uint8_t)(packed[i >> 1] >> ((i & 1) * 4) & 15);
}

/* Dynamic 8-bit maps (Dettmers et al., arXiv 2110.02861; doc/method.md section 8).
 * Sorted ascending. Built once, identical on every machine (computed in double, rounded to fp32). */
typedef struct {
  float signed_map[QG_DYNAMIC_CODES];   /* -0.99296874 .. 1.0; [127] = 0 */
  float unsigned_map[QG_DYNAMIC_CODES]; /* 0 .. 1.0 */
} qg_dynamic_maps;

/* The maps. Thread-safe, never fails. */
const qg_dynamic_maps *qg_dynamic_maps_get(void);

/* The nearest code of x in a sorted map by binary search; ties go to the lower code. The plain definition,
 * which faster searches must equal for every x. Beyond the map: its first and last code. NaN gives the code
 * of 0. */
QG_HD uint8_t qg_dynamic_encode(const float *map, float x)
{
  if (x != x) x = 0.0f;
  int low = 0, high = QG_DYNAMIC_CODES - 1;
  if (x <= map[low]) return 0;
  if (x >= map[high]) return (uint8_t)high;
  while (high - low > 1) { /* map[low] <= x < map[high] */
    int middle = (low + high) / 2;
    if (x >= map[middle]) low = middle;
    else
      high = middle;
  }
  return (uint8_t)(x - map[low] <= map[high] - x ? low : high);
}

/* Code of a first moment m / absmax: nearest, but a negative value never gets a code that is not negative
 * (doc/method.md section 8). The mirror image cannot happen: the code nearest to a positive value is 0 or
 * above. */
QG_HD uint8_t qg_dynamic_encode_signed(const float *signed_map, float x)
{
  uint8_t code = qg_dynamic_encode(signed_map, x);
  return (uint8_t)(x < 0.0f && !(signed_map[code] < 0.0f) ? code - 1 : code);
}

#endif
