#include "linalg/signs.h"

#include "qgalore/base.h"
#include "qgalore/philox.h"

enum { BITS = 128 };

void qg_sign_fill(uint64_t seed, float magnitude, int64_t count, float *x)
{
  qg_rng rng = {.seed = seed, .purpose = QG_RNG_SUBSPACE};
  for (int64_t first = 0; first < count; first += BITS) {
    qg_rng_block block = qg_rng_draw(rng, (uint64_t)(first / BITS));
    for (int64_t i = 0; i < qg_min_i64(BITS, count - first); i++)
      x[first + i] = block.v[i / 32] >> i % 32 & 1 ? magnitude : -magnitude;
  }
}
