/* The quantised formats of weights and projectors: INT8 and INT4 groups (doc/method.md section 2). Array versions belong to the
 * backends. */
#ifndef QGALORE_NUMERICS_QUANT_GROUPS_H
#define QGALORE_NUMERICS_QUANT_GROUPS_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "qgalore/numerics/bf16.h"
#include "qgalore/numerics/float_bits.h"
#include "qgalore/numerics/host_device.h"

enum { QG_GROUP = 256, QG_INT8_LEVELS = 255, QG_INT4_LEVELS = 15 };

static inline int64_t qg_group_count(int64_t elements)
{
  return (elements + QG_GROUP - 1) / QG_GROUP;
}

/* Scale and zero point of one group: w is about (code - zero) * scale. */
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

#endif
