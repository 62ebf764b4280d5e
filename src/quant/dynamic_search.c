#include "quant/dynamic_search.h"

#include <pthread.h>

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

static float from_bits(uint32_t bits)
{
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* The first bin of a sign reaches down to zero, the last one up to infinity. */
static float least_of_positive_bin(int bin)
{
  return bin == 0 ? 0.0f : from_bits((uint32_t)QG_SEARCH_LOW + ((uint32_t)bin << QG_SEARCH_SHIFT));
}

static float least_of_negative_bin(int bin)
{
  if (bin == QG_SEARCH_BINS - 1) return -INFINITY;
  return -from_bits((uint32_t)QG_SEARCH_LOW + ((uint32_t)(bin + 1) << QG_SEARCH_SHIFT) - 1u);
}

static void build_search(qg_dynamic_search *search, encoder encode, const float *map)
{
  for (int code = 0; code < QG_DYNAMIC_CODES - 1; code++)
    search->threshold[code] = find_threshold(encode, map, code);
  search->threshold[QG_DYNAMIC_CODES - 1] = INFINITY;
  for (int bin = 0; bin < QG_SEARCH_BINS; bin++) {
    search->start[bin] = encode(map, least_of_positive_bin(bin));
    search->start[QG_SEARCH_BINS + bin] = encode(map, least_of_negative_bin(bin));
  }
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
