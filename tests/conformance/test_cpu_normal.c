/* Normal numbers: as near to the exact formula as fp32 allows, for every word that there is; the same bits on
 * every level of instructions and any number of threads; and a normal distribution. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "backend/cpu/normal.h"
#include "qgalore/backend/host.h"
#include "qgalore/base.h"
#include "qgalore/numerics/quant_groups.h"
#include "support/fixtures/cpu_levels.h"
#include "support/fixtures/tolerances.h"

enum { WORDS = 1 << 24, SAMPLES = 1 << 20, SHORT = 5 * QG_GROUP + 3 };

static const qg_rng rng = {.seed = 11, .tensor = 7, .purpose = QG_RNG_INIT};

/* The lowest 8 bits of a word do not count. */
static uint32_t word_of(int64_t i)
{
  return (uint32_t)i << 8;
}

static void radii_are_those_of_the_formula(void **state)
{
  (void)state;
  double worst = 0.0;
  for (int64_t i = 1; i < WORDS; i++) {
    double exact = sqrt(-2.0 * log1p(-(double)i / WORDS));
    worst = fmax(worst, fabs((double)qg_normal_radius(word_of(i)) / exact - 1.0));
  }
  assert_true(worst < QG_TOL_NORMAL_F32);
  assert_true(qg_normal_radius(0) == 0.0f);
}

static void directions_are_those_of_the_formula(void **state)
{
  (void)state;
  const double step = 2.0 * acos(-1.0) / WORDS;
  double worst = 0.0;
  for (int64_t i = 0; i < WORDS; i++) {
    float c, s;
    qg_normal_direction(word_of(i), &c, &s);
    worst =
        fmax(worst, fmax(fabs((double)c - cos((double)i * step)), fabs((double)s - sin((double)i * step))));
  }
  assert_true(worst < QG_TOL_NORMAL_F32);
}

static void assert_bits_of_the_definition(int64_t first, int64_t count, const float *got)
{
  for (int64_t i = 0; i < count; i++) {
    uint64_t element = (uint64_t)(first + i);
    qg_rng_block block = qg_rng_draw(rng, element / 4);
    float pair[2];
    qg_normal_pair(block.v[element & 2], block.v[(element & 2) + 1], 0.02f, &pair[0], &pair[1]);
    assert_memory_equal(&got[i], &pair[element & 1], sizeof *got);
  }
}

/* The counter's upper word changes within the second range. */
static void every_element_has_the_bits_of_the_definition(void **state)
{
  (void)state;
  const int64_t firsts[] = {0, (4ll << 32) - 2 * QG_GROUP};
  float got[SHORT];
  for (int i = 0; i < QG_COUNT_OF(firsts); i++)
    for (int threads = 1; threads <= 3; threads++) {
      qg_normal_fill(rng, 0.02f, firsts[i], SHORT, threads, got);
      assert_bits_of_the_definition(firsts[i], SHORT, got);
    }
}

static float *sample(void)
{
  float *x = malloc(SAMPLES * sizeof *x);
  assert_non_null(x);
  qg_normal_fill(rng, 1.0f, 0, SAMPLES, 1, x);
  return x;
}

static double mean_power(const float *x, int power)
{
  double sum = 0.0;
  for (int64_t i = 0; i < SAMPLES; i++) sum += pow((double)x[i], power);
  return sum / SAMPLES;
}

/* |got - expected| in standard errors of a mean of SAMPLES terms with this variance. */
static void assert_near(double got, double expected, double variance)
{
  assert_true(fabs(got - expected) < QG_TOL_SAMPLE_SIGMAS * sqrt(variance / SAMPLES));
}

/* E x^2k = (2k - 1)!!, and the variance of the mean of x^k is (E x^2k - (E x^k)^2) / SAMPLES. */
static void moments_are_normal(void **state)
{
  (void)state;
  float *x = sample();
  assert_near(mean_power(x, 1), 0.0, 1.0);
  assert_near(mean_power(x, 2), 1.0, 2.0);
  assert_near(mean_power(x, 3), 0.0, 15.0);
  assert_near(mean_power(x, 4), 3.0, 96.0);
  free(x);
}

static void tails_are_normal(void **state)
{
  (void)state;
  float *x = sample();
  for (int sigmas = 1; sigmas <= 4; sigmas++) {
    double beyond = 0.0, expected = erfc(sigmas / sqrt(2.0));
    for (int64_t i = 0; i < SAMPLES; i++) beyond += fabsf(x[i]) > (float)sigmas;
    assert_near(beyond / SAMPLES, expected, expected * (1.0 - expected));
  }
  free(x);
}

static void neighbours_are_independent(void **state)
{
  (void)state;
  float *x = sample();
  for (int lag = 1; lag <= 4; lag++) {
    double product = 0.0, squares = 0.0;
    for (int64_t i = lag; i < SAMPLES; i++) {
      double a = (double)x[i], b = (double)x[i - lag];
      product += a * b;
      squares += (a * a - 1.0) * (b * b - 1.0);
    }
    assert_near(product / SAMPLES, 0.0, 1.0);
    assert_near(squares / SAMPLES, 0.0, 4.0);
  }
  free(x);
}

static int ascending(const void *a, const void *b)
{
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* Kolmogorov and Smirnov: the largest distance between the sample's distribution function and the normal one.
 */
static void distribution_function_is_normal(void **state)
{
  (void)state;
  float *x = sample();
  double distance = 0.0;
  qsort(x, SAMPLES, sizeof *x, ascending);
  for (int64_t i = 0; i < SAMPLES; i++) {
    double p = 0.5 * erfc(-(double)x[i] / sqrt(2.0));
    distance = fmax(distance, fmax(p - (double)i / SAMPLES, (double)(i + 1) / SAMPLES - p));
  }
  assert_true(distance * sqrt(SAMPLES) < QG_TOL_KOLMOGOROV);
  free(x);
}

static int run_bits(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_element_has_the_bits_of_the_definition)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(radii_are_those_of_the_formula),
      cmocka_unit_test(directions_are_those_of_the_formula),
      cmocka_unit_test(moments_are_normal),
      cmocka_unit_test(tails_are_normal),
      cmocka_unit_test(neighbours_are_independent),
      cmocka_unit_test(distribution_function_is_normal),
  };
  int failed = on_every_cpu_level(run_bits);
  return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
