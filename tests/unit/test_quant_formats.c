/* The number formats: bf16, INT8 and INT4 groups, stochastic rounding, and what an update leaves in a weight.
 */
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

static float from_bits(uint32_t bits)
{
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static void bf16_rounds_to_nearest_and_halves_to_even(void **state)
{
  (void)state;
  static const struct {
    uint32_t in;
    uint16_t out;
  } cases[] = {
      {0x3f800000, 0x3f80}, /* 1 */
      {0x3f807fff, 0x3f80}, /* just below half */
      {0x3f808000, 0x3f80}, /* half: to even, down */
      {0x3f808001, 0x3f81}, /* just above half */
      {0x3f818000, 0x3f82}, /* half: to even, up */
      {0x3fffffff, 0x4000}, /* carries into the exponent */
      {0x80000000, 0x8000}, /* -0 stays -0 */
      {0xbf808001, 0xbf81}, /* negative numbers mirror */
      {0x00008000, 0x0000}, /* subnormal half: to even */
      {0x00018001, 0x0002}, /* subnormals are numbers like others */
      {0x7f7fffff, 0x7f80}, /* beyond the greatest bf16: infinity */
      {0x7f800000, 0x7f80}, {0xff800000, 0xff80},
  };
  for (int i = 0; i < QG_COUNT_OF(cases); i++)
    assert_int_equal(qg_bf16_from_float(from_bits(cases[i].in)), cases[i].out);
}

static void bf16_keeps_nan_even_when_its_payload_is_cut_off(void **state)
{
  (void)state;
  static const uint32_t nans[] = {0x7fc00000, 0x7f800001, 0xffffffff, 0xff800001, 0x7fffffff};
  for (int i = 0; i < QG_COUNT_OF(nans); i++) {
    assert_true(isnan(qg_bf16_round(from_bits(nans[i]))));
    assert_true(isnan(qg_bf16_to_float(qg_bf16_stochastic(from_bits(nans[i]), 0xffffffffu))));
  }
}

static void every_bf16_survives_a_round_trip(void **state)
{
  (void)state;
  for (uint32_t h = 0; h <= 0xffff; h++) {
    float x = qg_bf16_to_float((uint16_t)h);
    if (isnan(x)) continue;
    assert_int_equal(qg_bf16_from_float(x), h);
    assert_int_equal(qg_bf16_stochastic(x, 0xffffffffu), h);
  }
}

/* Exactly: of the 2^16 values of the deciding bits, as many round up as the discarded bits say. */
static void bf16_stochastic_rounds_up_with_the_probability_of_the_discarded_bits(void **state)
{
  (void)state;
  static const uint32_t values[] = {0x3f800001, 0x3f808000, 0xbf80ffff, 0x3fff4000, 0x00004000};
  for (int k = 0; k < QG_COUNT_OF(values); k++) {
    uint32_t ups = 0, down = values[k] >> 16;
    for (uint32_t word = 0; word <= 0xffff; word++)
      ups += qg_bf16_stochastic(from_bits(values[k]), word << 16 | 0x1234u) - down;
    assert_int_equal(ups, values[k] & 0xffffu);
  }
}

/* One group and its codes. */
typedef struct {
  uint8_t codes[QG_GROUP], zero;
  float scale, decoded[QG_GROUP];
} group;

static group quantize(const float *w, bool include_zero)
{
  group g;
  qg_int8_store store = {g.codes, &g.scale, &g.zero};
  ref_quantize_int8(w, QG_GROUP, (qg_int8_rule){.include_zero = include_zero}, store);
  ref_dequantize_int8(store, QG_GROUP, g.decoded);
  return g;
}

static float largest_error(const float *w, const group *g)
{
  float largest = 0.0f;
  for (int i = 0; i < QG_GROUP; i++) largest = fmaxf(largest, fabsf(w[i] - g->decoded[i]));
  return largest;
}

/* mean |w - decoded| / mean |w| */
static double relative_error(const float *w, const group *g)
{
  double error = 0.0, size = 0.0;
  for (int i = 0; i < QG_GROUP; i++) {
    error += fabs((double)w[i] - (double)g->decoded[i]);
    size += fabs((double)w[i]);
  }
  return error / size;
}

static void fill_normal(float *w, float spread, float shift)
{
  for (int i = 0; i < QG_GROUP; i++) w[i] = ref_normal((uint64_t)i, spread) + shift;
}

/* Half a step of rounding; and half a step more at the ends, where the rounded zero point shifts the codes.
 */
static void a_group_of_both_signs_decodes_within_one_step(void **state)
{
  (void)state;
  float w[QG_GROUP];
  static const float spreads[] = {1e-2f, 1.0f, 1e10f, 1e36f};
  for (int k = 0; k < QG_COUNT_OF(spreads); k++) {
    fill_normal(w, spreads[k], 0.0f);
    group g = quantize(w, k % 2);
    assert_true(largest_error(w, &g) <= 1.001f * g.scale);
  }
}

static void a_group_of_zeros_decodes_to_zeros(void **state)
{
  (void)state;
  float w[QG_GROUP] = {0.0f};
  for (int include_zero = 0; include_zero < 2; include_zero++) {
    group g = quantize(w, include_zero);
    assert_int_equal(g.zero, 0);
    for (int i = 0; i < QG_GROUP; i++) assert_true(g.decoded[i] == 0.0f);
  }
}

static void zero_is_exactly_representable_when_the_range_includes_it(void **state)
{
  (void)state;
  float w[QG_GROUP];
  for (int k = -3; k <= 3; k++) {
    fill_normal(w, 0.02f, 0.03f * (float)k);
    w[17] = 0.0f;
    group g = quantize(w, true);
    assert_true(g.decoded[17] == 0.0f);
  }
}

/* Without 0 in the range the zero point saturates: a group of positive weights loses its values (the
 * reference's defect). */
static void one_signed_groups_keep_their_values_only_when_the_range_includes_zero(void **state)
{
  (void)state;
  float w[QG_GROUP];
  for (int sign = -1; sign <= 1; sign += 2) {
    for (int i = 0; i < QG_GROUP; i++) w[i] = (float)sign * (0.02f + fabsf(ref_normal((uint64_t)i, 0.005f)));
    group with = quantize(w, true), without = quantize(w, false);
    assert_true(largest_error(w, &with) <= 0.501f * with.scale);
    assert_true(relative_error(w, &with) < 0.01);
    assert_true(relative_error(w, &without) > 0.3);
  }
}

static void a_constant_group_keeps_its_value_when_the_range_includes_zero(void **state)
{
  (void)state;
  static const float values[] = {0.25f, -0.02f, 3e8f, -1e-4f};
  float w[QG_GROUP];
  for (int k = 0; k < QG_COUNT_OF(values); k++) {
    for (int i = 0; i < QG_GROUP; i++) w[i] = values[k];
    group g = quantize(w, true);
    assert_true(QG_CLOSE(g.decoded[0] / values[k], 1.0, QG_TOL_F32_SUM));
  }
}

/* The floor of the range: smaller groups share the step 1e-5/255 and vanish gracefully. */
static void the_step_never_falls_below_its_floor(void **state)
{
  (void)state;
  float w[QG_GROUP];
  fill_normal(w, 1e-30f, 0.0f);
  group g = quantize(w, true);
  assert_true(g.scale == 1e-5f / 255.0f);
  assert_true(g.decoded[0] == 0.0f);
}

static void codes_round_half_to_even(void **state)
{
  (void)state;
  float w[QG_GROUP] = {0.0f};
  static const float halves[] = {0.5f, 1.5f, 2.5f, 3.5f, 253.5f};
  static const int expected[] = {0, 2, 2, 4, 254};
  w[QG_GROUP - 1] = 255.0f; /* scale 1, zero 0 */
  for (int i = 0; i < QG_COUNT_OF(halves); i++) w[i] = halves[i];
  group g = quantize(w, false);
  assert_true(g.scale == 1.0f);
  for (int i = 0; i < QG_COUNT_OF(halves); i++) assert_int_equal(g.codes[i], expected[i]);
}

/* A weight that is no number must reach the loss: its whole group decodes to NaN, wherever in the group it
 * stands. */
static void a_group_that_is_not_finite_decodes_to_nan(void **state)
{
  (void)state;
  static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
  float w[QG_GROUP];
  for (int k = 0; k < QG_COUNT_OF(bad); k++)
    for (int place = 0; place < QG_GROUP; place += 51) {
      fill_normal(w, 0.02f, 0.0f);
      w[place] = bad[k];
      group g = quantize(w, place % 2);
      assert_true(g.scale == INFINITY);
      for (int i = 0; i < QG_GROUP; i++) assert_true(isnan(g.decoded[i]));
    }
}

static void a_range_beyond_the_floats_decodes_to_nan(void **state)
{
  (void)state;
  float w[QG_GROUP] = {3e38f, -3e38f};
  group g = quantize(w, true);
  assert_true(isnan(g.decoded[0]));
}

static void float_keys_order_all_numbers_and_put_nan_at_the_ends(void **state)
{
  (void)state;
  static const float ascending[] = {-INFINITY, -1.0f, -1e-45f, -0.0f, 0.0f, 1e-45f, 1.0f, INFINITY};
  for (int i = 0; i + 1 < QG_COUNT_OF(ascending); i++)
    assert_true(qg_float_key(ascending[i]) < qg_float_key(ascending[i + 1]));
  assert_true(qg_float_key(from_bits(0x7fc00000)) > qg_float_key(INFINITY));
  assert_true(qg_float_key(from_bits(0xffc00000)) < qg_float_key(-INFINITY));
  for (int i = 0; i < QG_COUNT_OF(ascending); i++) {
    float back = qg_float_from_key(qg_float_key(ascending[i]));
    assert_memory_equal(&back, &ascending[i], sizeof back);
  }
}

static void int4_packs_the_even_element_into_the_low_nibble(void **state)
{
  (void)state;
  static const float w[] = {0.0f, 1.0f, 2.0f, 3.0f, 15.0f};
  uint8_t codes[3], zero;
  float scale, decoded[5];
  qg_int4_store store = {codes, &scale, &zero};
  ref_quantize_int4(w, 5, false, store);
  assert_int_equal(codes[0], 0x10);
  assert_int_equal(codes[1], 0x32);
  assert_int_equal(codes[2], 0x0f);
  ref_dequantize_int4(store, 5, decoded);
  assert_memory_equal(decoded, w, sizeof w);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bf16_rounds_to_nearest_and_halves_to_even),
      cmocka_unit_test(bf16_keeps_nan_even_when_its_payload_is_cut_off),
      cmocka_unit_test(every_bf16_survives_a_round_trip),
      cmocka_unit_test(bf16_stochastic_rounds_up_with_the_probability_of_the_discarded_bits),
      cmocka_unit_test(a_group_of_both_signs_decodes_within_one_step),
      cmocka_unit_test(a_group_of_zeros_decodes_to_zeros),
      cmocka_unit_test(zero_is_exactly_representable_when_the_range_includes_it),
      cmocka_unit_test(one_signed_groups_keep_their_values_only_when_the_range_includes_zero),
      cmocka_unit_test(a_constant_group_keeps_its_value_when_the_range_includes_zero),
      cmocka_unit_test(the_step_never_falls_below_its_floor),
      cmocka_unit_test(codes_round_half_to_even),
      cmocka_unit_test(a_group_that_is_not_finite_decodes_to_nan),
      cmocka_unit_test(a_range_beyond_the_floats_decodes_to_nan),
      cmocka_unit_test(float_keys_order_all_numbers_and_put_nan_at_the_ends),
      cmocka_unit_test(int4_packs_the_even_element_into_the_low_nibble),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
