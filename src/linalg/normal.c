#include "linalg/normal.h"

#include <math.h>

#include "qgalore/base.h"
#include "qgalore/philox.h"

void qg_normal_fill(uint64_t seed, int64_t count, float *x)
{
  const float two_pi = 6.28318531f;
  qg_rng rng = {.seed = seed, .purpose = QG_RNG_SUBSPACE};
  for (int64_t first = 0; first < count; first += 4) {
    qg_rng_block block = qg_rng_draw(rng, (uint64_t)first / 4);
    float four[4];
    for (int pair = 0; pair < 4; pair += 2) {
      float radius = sqrtf(-2 * logf(1 - qg_rng_unit(block.v[pair])));
      float angle = two_pi * qg_rng_unit(block.v[pair + 1]);
      four[pair] = radius * cosf(angle);
      four[pair + 1] = radius * sinf(angle);
    }
    for (int64_t i = 0; i < qg_min_i64(4, count - first); i++) x[first + i] = four[i];
  }
}
