#include "qgalore/numerics/dynamic_maps.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

enum { DECADES = 7 };

static qg_dynamic_maps maps;
static pthread_once_t maps_once = PTHREAD_ONCE_INIT;

static int compare_floats(const void *a, const void *b)
{
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* Appends the midpoints of `cells` equal cells of [0.1, 1], times `sign` and `power`. */
static int append_decade(float *map, int count, int cells, double sign, double power)
{
  for (int i = 0; i < cells; i++) {
    double midpoint = 0.1 + 0.9 * (2 * i + 1) / (2.0 * cells);
    map[count++] = (float)(sign * power * midpoint);
  }
  return count;
}

/* Decade i has 2^i cells of each sign, or 2^(i+1) without signs; 0 and 1 complete the 256 values. */
static void build_map(float *map, bool with_signs)
{
  static const double powers[DECADES] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0};
  int count = 0;
  for (int i = 0; i < DECADES; i++) {
    int cells = with_signs ? 1 << i : 2 << i;
    count = append_decade(map, count, cells, 1.0, powers[i]);
    if (with_signs) count = append_decade(map, count, cells, -1.0, powers[i]);
  }
  map[count++] = 0.0f;
  map[count++] = 1.0f;
  qsort(map, (size_t)count, sizeof *map, compare_floats);
}

static void build_maps(void)
{
  build_map(maps.signed_map, true);
  build_map(maps.unsigned_map, false);
}

const qg_dynamic_maps *qg_dynamic_maps_get(void)
{
  pthread_once(&maps_once, build_maps);
  return &maps;
}
