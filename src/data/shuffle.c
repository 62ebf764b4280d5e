/* A keyed permutation of [0, count): Luby and Rackoff, "How to construct pseudorandom permutations from
 * pseudorandom functions", SIAM J. Comput. 17 (1988), on the smallest even number of bits that holds count,
 * with the cycle walking of Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002. */
#include "qgalore/data.h"
#include "qgalore/numerics/philox.h"

enum { ROUNDS = 8 };

/* Half the bits of the smallest domain 4^half >= count; at least 1. */
static int half_bits(int64_t count)
{
  int half = 1;
  while (half < 31 && (int64_t)1 << (2 * half) < count) half++;
  return half;
}

/* One pass of the network over 2 * half bits. */
static uint64_t feistel(uint64_t seed, int64_t epoch, int half, uint64_t value)
{
  uint64_t mask = ((uint64_t)1 << half) - 1;
  uint64_t left = value >> half, right = value & mask;
  for (uint32_t round = 0; round < ROUNDS; round++) {
    qg_rng rng = {.seed = seed, .step = (uint64_t)epoch, .tensor = round, .purpose = QG_RNG_SHUFFLE};
    uint64_t mixed = left ^ (qg_rng_draw(rng, right).v[0] & mask);
    left = right;
    right = mixed;
  }
  return left << half | right;
}

int64_t qg_shuffle(uint64_t seed, int64_t epoch, int64_t count, int64_t index)
{
  int half = half_bits(count);
  uint64_t value = (uint64_t)index;
  /* The domain is under four times count, so a walk takes fewer than four passes on average; it comes back
   * into [0, count) because it follows the cycle that it started on. */
  do value = feistel(seed, epoch, half, value);
  while (value >= (uint64_t)count);
  return (int64_t)value;
}
