/* Promises of the random numbers: Philox4x32-10 to the bit, and streams that do not know of each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "qgalore/base.h"
#include "qgalore/numerics/philox.h"

/* The generator's input as the four counter words and two key words of the paper. Our packing:
 * c0 = block low, c1 = tensor << 8 | purpose, c2 = step low, c3 = step high << 16 | block high. */
static qg_rng_block draw_raw(const uint32_t c[4], const uint32_t k[2])
{
  qg_rng rng = {
      .seed = (uint64_t)k[1] << 32 | k[0],
      .step = (uint64_t)(c[3] >> 16) << 32 | c[2],
      .tensor = c[1] >> 8,
      .purpose = c[1] & 0xff,
  };
  return qg_rng_draw(rng, (uint64_t)(c[3] & 0xffff) << 32 | c[0]);
}

/* The three vectors of the Random123 distribution (kat_vectors, philox4x32 10). */
static void known_answers(void **state)
{
  (void)state;
  static const struct {
    uint32_t counter[4], key[2], answer[4];
  } vectors[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (int i = 0; i < QG_COUNT_OF(vectors); i++) {
    qg_rng_block block = draw_raw(vectors[i].counter, vectors[i].key);
    for (int j = 0; j < 4; j++) assert_int_equal(block.v[j], vectors[i].answer[j]);
  }
}

static void unit_numbers_lie_in_the_half_open_interval(void **state)
{
  (void)state;
  assert_true(qg_rng_unit(0) == 0.0f);
  assert_true(qg_rng_unit(0xffffffffu) < 1.0f);
  assert_true(qg_rng_unit(0x80000000u) == 0.5f);
}

static void an_element_has_one_number_however_it_is_drawn(void **state)
{
  (void)state;
  qg_rng rng = {.seed = 42, .step = 7, .tensor = 3, .purpose = QG_RNG_ROUND};
  for (uint64_t block = 0; block < 100; block++)
    for (uint64_t i = 0; i < 4; i++)
      assert_true(qg_rng_unit_at(rng, 4 * block + i) == qg_rng_unit(qg_rng_draw(rng, block).v[i]));
}

enum { SAMPLES = 1 << 20, BINS = 256 };

/* Chi-square with 255 degrees of freedom has mean 255 and deviation 22.6: 5 deviations either side. */
static void numbers_are_uniform(void **state)
{
  (void)state;
  qg_rng rng = {.seed = 1, .purpose = QG_RNG_ROUND};
  int counts[BINS] = {0};
  double sum = 0, expected = (double)SAMPLES / BINS, chi2 = 0;
  for (uint64_t i = 0; i < SAMPLES; i++) {
    float u = qg_rng_unit_at(rng, i);
    counts[(int)(u * BINS)]++;
    sum += u;
  }
  for (int i = 0; i < BINS; i++) chi2 += (counts[i] - expected) * (counts[i] - expected) / expected;
  assert_true(chi2 > 142 && chi2 < 368);
  /* The mean of n uniform numbers has deviation sqrt(1/12n). */
  assert_true(fabs(sum / SAMPLES - 0.5) < 5 * sqrt(1.0 / 12 / SAMPLES));
}

/* Correlation coefficient of two streams; for independent ones its deviation is 1/sqrt(n). */
static double correlation(qg_rng a, qg_rng b, uint64_t shift)
{
  double sum = 0;
  for (uint64_t i = 0; i < SAMPLES / 4; i++)
    sum += ((double)qg_rng_unit_at(a, i) - 0.5) * ((double)qg_rng_unit_at(b, i + shift) - 0.5);
  return 12 * sum / (SAMPLES / 4);
}

static void streams_are_independent(void **state)
{
  (void)state;
  double limit = 5 / sqrt(SAMPLES / 4);
  qg_rng base = {.seed = 1, .step = 10, .tensor = 5, .purpose = QG_RNG_INIT};
  qg_rng seed = base, step = base, tensor = base, purpose = base;
  seed.seed++, step.step++, tensor.tensor++, purpose.purpose = QG_RNG_ROUND;
  assert_true(correlation(base, base, 0) > 0.9);
  assert_true(fabs(correlation(base, base, 1)) < limit);
  assert_true(fabs(correlation(base, base, 4)) < limit);
  assert_true(fabs(correlation(base, seed, 0)) < limit);
  assert_true(fabs(correlation(base, step, 0)) < limit);
  assert_true(fabs(correlation(base, tensor, 0)) < limit);
  assert_true(fabs(correlation(base, purpose, 0)) < limit);
}

/* A block is a bijection of its counter: two inputs give one output only if they share the counter. */
static void no_two_fields_share_counter_bits(void **state)
{
  (void)state;
  qg_rng rng[] = {{.step = 1},
                  {.step = 1ull << 32},
                  {.step = 1ull << 47},
                  {.tensor = 1},
                  {.tensor = (1u << 24) - 1},
                  {.purpose = 1},
                  {.purpose = 255},
                  {0},
                  {0},
                  {0}};
  uint64_t block[] = {0, 0, 0, 0, 0, 0, 0, 1, 1ull << 32, 1ull << 47};
  for (int i = 0; i < QG_COUNT_OF(rng); i++)
    for (int j = 0; j < i; j++) {
      qg_rng_block a = qg_rng_draw(rng[i], block[i]), b = qg_rng_draw(rng[j], block[j]);
      assert_memory_not_equal(&a, &b, sizeof a);
    }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_answers),
      cmocka_unit_test(unit_numbers_lie_in_the_half_open_interval),
      cmocka_unit_test(an_element_has_one_number_however_it_is_drawn),
      cmocka_unit_test(numbers_are_uniform),
      cmocka_unit_test(streams_are_independent),
      cmocka_unit_test(no_two_fields_share_counter_bits),
  };
  return cmocka_run_group_tests_name("philox", tests, NULL, NULL);
}
