/* A fast exact search of the dynamic maps: one table look-up and one comparison.
 *
 * The upper bits of |x| (exponent and QG_SEARCH_MANTISSA_BITS of the mantissa) and its sign name a bin of the
 * number line; its lower bits say where in the bin x lies. The bins are so narrow that the code changes at
 * most once inside, so a bin needs the code of its least value and the place of the change: 32 bits together.
 */
#ifndef QGALORE_NUMERICS_DYNAMIC_SEARCH_H
#define QGALORE_NUMERICS_DYNAMIC_SEARCH_H

#include <stdint.h>
#include <string.h>

#include "qgalore/numerics/dynamic_maps.h"

enum {
  QG_SEARCH_MANTISSA_BITS = 7,
  QG_SEARCH_SHIFT = 23 - QG_SEARCH_MANTISSA_BITS, /* half a word */
  QG_SEARCH_LOW = (127 - 23) << 23,               /* bits of 2^-23: below it the code changes at 0 only */
  QG_SEARCH_HIGH = 127 << 23,                     /* bits of 1 */
  QG_SEARCH_BINS = ((QG_SEARCH_HIGH - QG_SEARCH_LOW) >> QG_SEARCH_SHIFT) + 1,
  QG_SEARCH_LAST_PLACE = (1 << QG_SEARCH_SHIFT) - 1,
  QG_SEARCH_NEVER = QG_SEARCH_LAST_PLACE,
  QG_DYNAMIC_CODE_BITS = 8
};

/* One search table: of the signed map with its sign rule (qg_dynamic_encode_signed), or of the unsigned map.
 * Bins of x >= 0, then of negative x. Lowest 8 bits: the code of the least value of the bin. Above them: the
 * last place with that code, QG_SEARCH_NEVER if all of the bin has it. */
typedef struct {
  uint32_t entry[2 * QG_SEARCH_BINS];
} qg_dynamic_search;

typedef struct {
  qg_dynamic_search of_signed, of_unsigned;
} qg_dynamic_searches;

/* Built at the first call from the plain definitions. Thread-safe, never fails. */
const qg_dynamic_searches *qg_dynamic_searches_get(void);

/* Where on the number line x lies: the bin in the upper half, the place there in the lower; both ascend with
 * x. x is not NaN, and -0 counts as 0. */
QG_HD uint32_t qg_dynamic_locate(float x)
{
  uint32_t bits;
  x += 0.0f;
  memcpy(&bits, &x, sizeof bits);
  uint32_t negative = bits >> 31, magnitude = bits & 0x7fffffffu;
  if (magnitude < QG_SEARCH_LOW) magnitude = QG_SEARCH_LOW;
  if (magnitude > QG_SEARCH_HIGH) magnitude = QG_SEARCH_HIGH;
  uint32_t where = (magnitude - QG_SEARCH_LOW) ^ (negative * QG_SEARCH_LAST_PLACE);
  return where + negative * ((uint32_t)QG_SEARCH_BINS << QG_SEARCH_SHIFT);
}

QG_HD uint8_t qg_dynamic_code_at(const qg_dynamic_search *search, uint32_t where)
{
  uint32_t entry = search->entry[where >> QG_SEARCH_SHIFT];
  return (uint8_t)(entry + ((where & QG_SEARCH_LAST_PLACE) > entry >> QG_DYNAMIC_CODE_BITS));
}

/* Equals the plain definition for every x (tests/unit/test_quant_dynamic.c). */
QG_HD uint8_t qg_dynamic_find(const qg_dynamic_search *search, float x)
{
  return qg_dynamic_code_at(search, qg_dynamic_locate(x == x ? x : 0.0f));
}

#endif
