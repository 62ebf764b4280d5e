/* The dynamic 8-bit maps of moments (Dettmers et al., arXiv 2110.02861; doc/method.md section 8). In a
 * run subnormal quotients count as zeros (qg_subnormals_flush). */
#ifndef QGALORE_NUMERICS_DYNAMIC_MAPS_H
#define QGALORE_NUMERICS_DYNAMIC_MAPS_H

#include <stdint.h>

#include "qgalore/numerics/host_device.h"

enum { QG_DYNAMIC_CODES = 256 };

/* Sorted ascending. Built once, identical on every machine (computed in double, rounded to fp32). */
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
