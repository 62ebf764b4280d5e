/* The order of the training sequences: a permutation of every epoch, random enough, and a function of
 * (seed, epoch, index) alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>

#include "qgalore/base.h"
#include "qgalore/data.h"

enum { SEED = 20240711 };

static bool is_bijection(int64_t epoch, int64_t count)
{
  unsigned char *seen = calloc((size_t)count, 1);
  assert_non_null(seen);
  bool bijection = true;
  for (int64_t i = 0; i < count && bijection; i++) {
    int64_t to = qg_shuffle(SEED, epoch, count, i);
    bijection = to >= 0 && to < count && !seen[to];
    if (bijection) seen[to] = 1;
  }
  free(seen);
  return bijection;
}

static void every_sequence_comes_once_an_epoch(void **state)
{
  (void)state;
  for (int64_t count = 1; count <= 70; count++)
    for (int64_t epoch = 0; epoch < 4; epoch++) assert_true(is_bijection(epoch, count));
  const int64_t counts[] = {127, 255, 256, 257, 1009, 4095, 4096, 4097, 65537, 99991};
  for (int i = 0; i < QG_COUNT_OF(counts); i++) assert_true(is_bijection(1, counts[i]));
}

static int ascending(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* A million, and more than 2^40: no two of the sampled indices collide. */
static void large_counts_stay_in_range_without_collisions(void **state)
{
  (void)state;
  enum { SAMPLES = 20000 };
  const int64_t counts[] = {1000000, ((int64_t)1 << 40) + 15};
  int64_t *to = calloc(SAMPLES, sizeof *to);
  assert_non_null(to);
  for (int c = 0; c < QG_COUNT_OF(counts); c++) {
    int64_t stride = counts[c] / SAMPLES;
    for (int64_t i = 0; i < SAMPLES; i++) {
      to[i] = qg_shuffle(SEED, 0, counts[c], i * stride);
      assert_in_range(to[i], 0, counts[c] - 1);
    }
    qsort(to, SAMPLES, sizeof *to, ascending);
    for (int64_t i = 1; i < SAMPLES; i++) assert_true(to[i - 1] < to[i]);
  }
  free(to);
}

static int64_t fixed_points(uint64_t seed_a, int64_t epoch_a, uint64_t seed_b, int64_t epoch_b, int64_t count)
{
  int64_t same = 0;
  for (int64_t i = 0; i < count; i++)
    same += qg_shuffle(seed_a, epoch_a, count, i) == qg_shuffle(seed_b, epoch_b, count, i);
  return same;
}

/* Two unrelated permutations agree in one place on average; ten has a probability of 1e-7. */
static void epochs_and_seeds_give_unrelated_orders(void **state)
{
  (void)state;
  for (int64_t count = 100; count <= 10000; count *= 10) {
    assert_true(fixed_points(SEED, 0, SEED, 1, count) < 10);
    assert_true(fixed_points(SEED, 0, SEED + 1, 0, count) < 10);
    assert_true(fixed_points(SEED, 5, (uint64_t)SEED << 32, 5, count) < 10);
  }
}

/* Chi-square over (index, position) cells of 12 sequences in 12000 epochs: 144 cells, 121 degrees of freedom,
 * so the mean is 121 and the standard deviation 15.6; the bound is 5 deviations. The seed is fixed: the test
 * does not flicker. */
static void every_place_is_equally_likely_for_every_sequence(void **state)
{
  (void)state;
  enum { COUNT = 12, EPOCHS = 12000 };
  int64_t cells[COUNT][COUNT] = {{0}};
  for (int64_t epoch = 0; epoch < EPOCHS; epoch++)
    for (int64_t i = 0; i < COUNT; i++) cells[i][qg_shuffle(SEED, epoch, COUNT, i)]++;
  double expected = (double)EPOCHS / COUNT, chi_square = 0.0;
  for (int i = 0; i < COUNT; i++)
    for (int j = 0; j < COUNT; j++) {
      double difference = (double)cells[i][j] - expected;
      chi_square += difference * difference / expected;
    }
  assert_true(chi_square < 121.0 + 5.0 * 15.6);
}

/* Neighbours in the text are not neighbours in training: successive steps of +1 are as rare as in a random
 * permutation (one on average). */
static void neighbours_are_separated(void **state)
{
  (void)state;
  enum { COUNT = 5000 };
  int64_t adjacent = 0;
  for (int64_t i = 1; i < COUNT; i++)
    adjacent += qg_shuffle(SEED, 0, COUNT, i) == qg_shuffle(SEED, 0, COUNT, i - 1) + 1;
  assert_true(adjacent < 10);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_sequence_comes_once_an_epoch),
      cmocka_unit_test(large_counts_stay_in_range_without_collisions),
      cmocka_unit_test(epochs_and_seeds_give_unrelated_orders),
      cmocka_unit_test(every_place_is_equally_likely_for_every_sequence),
      cmocka_unit_test(neighbours_are_separated),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
