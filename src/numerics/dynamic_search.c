#include "qgalore/numerics/dynamic_search.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>

#include "qgalore/numerics/float_bits.h"

typedef uint8_t (*encoder)(const float *map, float x);

static qg_dynamic_searches searches;
static pthread_once_t searches_once = PTHREAD_ONCE_INIT;

/* The greatest finite x with encode(x) <= code, by bisection over the ordered bit patterns. encode(low) <=
 * code < encode(high). */
static float find_threshold(encoder encode, const float *map, int code)
{
  int64_t low = qg_float_key(-FLT_MAX), high = qg_float_key(FLT_MAX);
  while (high - low > 1) {
    int64_t middle = low + (high - low) / 2;
    if (encode(map, qg_float_from_key((int32_t)middle)) <= code) low = middle;
    else
      high = middle;
  }
  return qg_float_from_key((int32_t)low);
}

/* The first bin of a sign reaches down to zero, the last one up to infinity. */
static float least_of_positive_bin(int bin)
{
  return bin == 0 ? 0.0f : qg_float_of_bits(QG_SEARCH_LOW + (bin << QG_SEARCH_SHIFT));
}

static float least_of_negative_bin(int bin)
{
  if (bin == QG_SEARCH_BINS - 1) return -INFINITY;
  return -qg_float_of_bits(QG_SEARCH_LOW + ((bin + 1) << QG_SEARCH_SHIFT) - 1);
}

/* The greatest x of a code is the place of the change, if it lies in the bin and is not below the table's
 * reach. */
static uint32_t place_of_change(uint32_t bin, float threshold)
{
  uint32_t where = qg_dynamic_locate(threshold);
  bool reached = fabsf(threshold) >= qg_float_of_bits(QG_SEARCH_LOW) &&
                 fabsf(threshold) < qg_float_of_bits(QG_SEARCH_HIGH);
  return reached && where >> QG_SEARCH_SHIFT == bin ? where & QG_SEARCH_LAST_PLACE : QG_SEARCH_NEVER;
}

static uint32_t make_entry(encoder encode, const float *map, const float *thresholds, uint32_t bin)
{
  int part = (int)(bin % QG_SEARCH_BINS);
  uint8_t code =
      encode(map, bin < QG_SEARCH_BINS ? least_of_positive_bin(part) : least_of_negative_bin(part));
  return place_of_change(bin, thresholds[code]) << QG_DYNAMIC_CODE_BITS | code;
}

static void build_search(qg_dynamic_search *search, encoder encode, const float *map)
{
  float thresholds[QG_DYNAMIC_CODES] = {[QG_DYNAMIC_CODES - 1] = INFINITY};
  for (int code = 0; code < QG_DYNAMIC_CODES - 1; code++)
    thresholds[code] = find_threshold(encode, map, code);
  for (uint32_t bin = 0; bin < 2 * QG_SEARCH_BINS; bin++)
    search->entry[bin] = make_entry(encode, map, thresholds, bin);
}

static void build_searches(void)
{
  const qg_dynamic_maps *maps = qg_dynamic_maps_get();
  build_search(&searches.of_signed, qg_dynamic_encode_signed, maps->signed_map);
  build_search(&searches.of_unsigned, qg_dynamic_encode, maps->unsigned_map);
}

const qg_dynamic_searches *qg_dynamic_searches_get(void)
{
  pthread_once(&searches_once, build_searches);
  return &searches;
}
