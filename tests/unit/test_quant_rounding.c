/* Rounding of weights: stochastic rounding has no bias, and what of small updates arrives in a weight. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* cmocka wants the four headers above first. */
#include <cmocka.h>

#include "support/reference/quant_reference.h"
#include "support/fixtures/tolerances.h"
#include "qgalore/base.h"

static void stochastic_rounding_hits_only_the_two_neighbours(void **state)
{
  (void)state;
  static const float units[] = {0.0f, 0.25f, 0.5f, 0x1.fffffep-1f};
  for (int i = -400; i <= 400; i++)
    for (int k = 0; k < QG_COUNT_OF(units); k++) {
      float v = 0.37f * (float)i, r = qg_round_stochastic(v, units[k]);
      assert_true(r == floorf(v) || r == ceilf(v));
      assert_true(r == (units[k] < v - floorf(v) ? floorf(v) + 1.0f : floorf(v)));
    }
}

/* The mean of many draws is the number itself. Its standard error is at most 0.5 / sqrt(draws) of a step. */
static void stochastic_rounding_is_unbiased(void **state)
{
  (void)state;
  enum { DRAWS = 1 << 16 };
  static const float values[] = {0.1f, 7.5f, 100.93f, -3.002f, -90.25f};
  qg_rng rng = {.seed = 4, .purpose = QG_RNG_ROUND};
  for (int k = 0; k < QG_COUNT_OF(values); k++) {
    double sum = 0.0;
    rng.step = (uint64_t)k;
    for (uint64_t i = 0; i < DRAWS; i++)
      sum += (double)qg_round_stochastic(values[k], qg_rng_unit_at(rng, i));
    assert_true(fabs(sum / DRAWS - (double)values[k]) < QG_TOL_SAMPLE_SIGMAS * 0.5 / sqrt(DRAWS));
  }
}

enum { WEIGHTS = 1 << 15, WEIGHT_GROUPS = WEIGHTS / QG_GROUP, STEPS = 100 };

static double mean_weight(qg_int8_store store)
{
  static float w[WEIGHTS];
  double sum = 0.0;
  ref_dequantize_int8(store, WEIGHTS, w);
  for (int i = 0; i < WEIGHTS; i++) sum += (double)w[i];
  return sum / WEIGHTS;
}

/* How much of a constant update of INT8 weights ~ N(0, 0.02) has arrived after STEPS steps, as a fraction. */
static double applied_fraction(float update, qg_int8_rule rule)
{
  static float w[WEIGHTS], updates[WEIGHTS];
  static uint8_t codes[WEIGHTS], zero[WEIGHT_GROUPS];
  static float scale[WEIGHT_GROUPS];
  qg_int8_store store = {codes, scale, zero};
  for (int i = 0; i < WEIGHTS; i++) {
    w[i] = ref_normal((uint64_t)i, 0.02f);
    updates[i] = update;
  }
  ref_quantize_int8(w, WEIGHTS, rule, store);
  double before = mean_weight(store);
  qg_update_int8_args args = {.store = store,
                              .count = WEIGHTS,
                              .update = updates,
                              .rule = rule,
                              .rng = {.seed = 8, .purpose = QG_RNG_ROUND}};
  for (args.rng.step = 0; args.rng.step < STEPS; args.rng.step++) ref_update_int8(&args);
  return (mean_weight(store) - before) / ((double)update * STEPS);
}

static void small_updates_arrive_in_full_in_fp32_with_stochastic_rounding(void **state)
{
  (void)state;
  qg_int8_rule rule = {.include_zero = true, .stochastic = true};
  assert_true(QG_CLOSE(applied_fraction(1e-6f, rule), 1.0, QG_TOL_APPLIED_TINY));
  assert_true(QG_CLOSE(applied_fraction(1.6e-5f, rule), 1.0, QG_TOL_APPLIED));
  assert_true(QG_CLOSE(applied_fraction(1e-4f, rule), 1.0, QG_TOL_APPLIED));
}

/* Steps of 4e-4 swallow smaller updates whole when codes round to nearest. */
static void small_updates_are_lost_when_codes_round_to_nearest(void **state)
{
  (void)state;
  qg_int8_rule rule = {.include_zero = true};
  assert_true(fabs(applied_fraction(1e-6f, rule)) < 0.02);
  assert_true(fabs(applied_fraction(1.6e-5f, rule)) < 0.02);
}

/* bf16 has 8 bits: near 0.02 its step is 1.2e-4, and the sum with a smaller update mostly rounds back. */
static void bf16_arithmetic_loses_most_of_a_small_update(void **state)
{
  (void)state;
  qg_int8_rule rule = {.include_zero = true, .stochastic = true, .bf16_arithmetic = true};
  assert_true(fabs(applied_fraction(1e-6f, rule)) < 0.15);
  double middle = applied_fraction(1.6e-5f, rule), large = applied_fraction(1e-4f, rule);
  assert_true(middle > 0.2 && middle < 0.5);
  assert_true(large > 0.7 && large < 0.97);
}

static void decay_follows_the_update_in_bf16_and_shares_its_weight_in_fp32(void **state)
{
  (void)state;
  assert_true(qg_weight_step(1.0f, 0.5f, 0.25f, false) == 1.25f);
  assert_true(qg_weight_step(1.0f, 0.5f, 0.25f, true) == 1.125f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(stochastic_rounding_hits_only_the_two_neighbours),
      cmocka_unit_test(stochastic_rounding_is_unbiased),
      cmocka_unit_test(small_updates_arrive_in_full_in_fp32_with_stochastic_rounding),
      cmocka_unit_test(small_updates_are_lost_when_codes_round_to_nearest),
      cmocka_unit_test(bf16_arithmetic_loses_most_of_a_small_update),
      cmocka_unit_test(decay_follows_the_update_in_bf16_and_shares_its_weight_in_fp32),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
