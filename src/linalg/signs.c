#include "linalg/signs.h"

#include <string.h>

#include "qgalore/base.h"
#include "qgalore/numerics/philox.h"

enum { BITS = 128, GROUP = 4, GROUPS = 1 << GROUP };

void qg_sign_fill(uint64_t seed, float magnitude, int64_t count, float *x)
{
  float groups[GROUPS][GROUP]; /* of all ways that bits can be */
  for (int k = 0; k < GROUPS * GROUP; k++)
    groups[k / GROUP][k % GROUP] = k / GROUP >> k % GROUP & 1 ? magnitude : -magnitude;
  qg_rng rng = {.seed = seed, .purpose = QG_RNG_SUBSPACE};
  for (int64_t first = 0; first < count; first += BITS) {
    qg_rng_block block = qg_rng_draw(rng, (uint64_t)(first / BITS));
    for (int64_t i = 0; i < qg_min_i64(BITS, count - first); i += GROUP) {
      int64_t length = qg_min_i64(GROUP, count - first - i);
      memcpy(x + first + i, groups[block.v[i / 32] >> i % 32 & (GROUPS - 1)], (size_t)length * sizeof *x);
    }
  }
}
