/* A fast exact search of the dynamic maps: one table look-up and one comparison.
 *
 * The upper bits of |x| (exponent and QG_SEARCH_MANTISSA_BITS of the mantissa) and its sign name a bin of the
 * number line. The bins are so narrow that the code changes at most once inside: it is the code of the bin's
 * least value, plus one if x lies above that code's threshold. */
#ifndef QG_QUANT_DYNAMIC_SEARCH_H
#define QG_QUANT_DYNAMIC_SEARCH_H

#include "qgalore/quant.h"

enum {
  QG_SEARCH_MANTISSA_BITS = 7,
  QG_SEARCH_SHIFT = 23 - QG_SEARCH_MANTISSA_BITS,
  QG_SEARCH_LOW = (127 - 23) << 23, /* bits of 2^-23: below it the code changes at 0 only */
  QG_SEARCH_HIGH = 127 << 23,       /* bits of 1 */
  QG_SEARCH_BINS = ((QG_SEARCH_HIGH - QG_SEARCH_LOW) >> QG_SEARCH_SHIFT) + 1
};

/* One search table: of the signed map with its sign rule (qg_dynamic_encode_signed), or of the unsigned map.
 */
typedef struct {
  float threshold[QG_DYNAMIC_CODES]; /* the greatest x whose code is not above the index; the last is infinite
                                      */
  /* Code of the least value of a bin: bins of x >= +0, then of negative x. Padded, so that four bytes may be read at
   * each. */
  uint8_t start[2 * QG_SEARCH_BINS + 3];
} qg_dynamic_search;

typedef struct {
  qg_dynamic_search of_signed, of_unsigned;
} qg_dynamic_searches;

/* Built at the first call from the plain definitions. Thread-safe, never fails. */
const qg_dynamic_searches *qg_dynamic_searches_get(void);

/* The bin of a number that is not NaN. */
QG_HD uint32_t qg_dynamic_bin(float x)
{
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude < QG_SEARCH_LOW) magnitude = QG_SEARCH_LOW;
  if (magnitude > QG_SEARCH_HIGH) magnitude = QG_SEARCH_HIGH;
  return ((magnitude - QG_SEARCH_LOW) >> QG_SEARCH_SHIFT) + (bits >> 31) * QG_SEARCH_BINS;
}

/* Equals the plain definition for every x (tests/unit/test_quant_search.c). */
QG_HD uint8_t qg_dynamic_find(const qg_dynamic_search *search, float x)
{
  if (x != x) x = 0.0f;
  uint8_t code = search->start[qg_dynamic_bin(x)];
  return (uint8_t)(code + (x > search->threshold[code]));
}

#endif
