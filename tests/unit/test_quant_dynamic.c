/* The dynamic 8-bit maps, their plain search, and the proof that the fast search equals it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* cmocka wants the four headers above first. */
#include <cmocka.h>

#include "qgalore/numerics/adam.h"
#include "qgalore/numerics/dynamic_search.h"
#include "support/fixtures/tolerances.h"
#include "support/reference/quant_reference.h"

enum { CODE_OF_ZERO = 127, LAST = QG_DYNAMIC_CODES - 1 };

static bool close_to(float value, double expected)
{
  return fabs((double)value - expected) <= QG_TOL_F32_SUM * fabs(expected);
}

static void the_maps_have_the_published_values(void **state)
{
  (void)state;
  const qg_dynamic_maps *maps = qg_dynamic_maps_get();
  assert_true(close_to(maps->signed_map[0], -0.99296874));
  assert_true(close_to(maps->signed_map[126], -5.5e-7));
  assert_true(maps->signed_map[CODE_OF_ZERO] == 0.0f);
  assert_true(close_to(maps->signed_map[128], 5.5e-7));
  assert_true(maps->signed_map[LAST] == 1.0f);
  assert_true(maps->unsigned_map[0] == 0.0f);
  assert_true(close_to(maps->unsigned_map[1], 3.25e-7));
  assert_true(close_to(maps->unsigned_map[2], 7.75e-7));
  assert_true(close_to(maps->unsigned_map[254], 0.9964844));
  assert_true(maps->unsigned_map[LAST] == 1.0f);
}

static void the_maps_ascend_and_the_signed_one_mirrors_itself(void **state)
{
  (void)state;
  const qg_dynamic_maps *maps = qg_dynamic_maps_get();
  for (int i = 0; i < LAST; i++) {
    assert_true(maps->signed_map[i] < maps->signed_map[i + 1]);
    assert_true(maps->unsigned_map[i] < maps->unsigned_map[i + 1]);
  }
  for (int i = 0; i < CODE_OF_ZERO; i++)
    assert_true(maps->signed_map[i] == -maps->signed_map[2 * CODE_OF_ZERO - i]);
}

static void every_value_of_a_map_has_its_own_code(void **state)
{
  (void)state;
  const qg_dynamic_maps *maps = qg_dynamic_maps_get();
  for (int i = 0; i <= LAST; i++) {
    assert_int_equal(qg_dynamic_encode_signed(maps->signed_map, maps->signed_map[i]), i);
    assert_int_equal(qg_dynamic_encode(maps->unsigned_map, maps->unsigned_map[i]), i);
  }
}

static void the_code_is_the_nearest(void **state)
{
  (void)state;
  const float *map = qg_dynamic_maps_get()->signed_map;
  for (uint64_t k = 0; k < 20000; k++) {
    float x = ref_normal(k, k % 3 ? 0.3f : 1e-4f);
    int code = qg_dynamic_encode(map, x);
    if (code > 0) assert_true(fabsf(x - map[code]) <= fabsf(x - map[code - 1]));
    if (code < LAST) assert_true(fabsf(x - map[code]) <= fabsf(x - map[code + 1]));
  }
}

static void a_negative_moment_never_gets_a_code_that_is_not_negative(void **state)
{
  (void)state;
  const float *map = qg_dynamic_maps_get()->signed_map;
  static const float tiny[] = {-1e-7f, -1e-30f, -1e-45f};
  for (size_t i = 0; i < sizeof tiny / sizeof tiny[0]; i++) {
    assert_int_equal(qg_dynamic_encode_signed(map, tiny[i]), CODE_OF_ZERO - 1);
    assert_int_equal(qg_dynamic_encode_signed(map, -tiny[i]), CODE_OF_ZERO);
  }
  assert_int_equal(qg_dynamic_encode_signed(map, -0.0f), CODE_OF_ZERO);
}

static void numbers_beyond_the_map_get_its_ends_and_nan_gets_zero(void **state)
{
  (void)state;
  const qg_dynamic_maps *maps = qg_dynamic_maps_get();
  assert_int_equal(qg_dynamic_encode_signed(maps->signed_map, -INFINITY), 0);
  assert_int_equal(qg_dynamic_encode_signed(maps->signed_map, 7.0f), LAST);
  assert_int_equal(qg_dynamic_encode_signed(maps->signed_map, NAN), CODE_OF_ZERO);
  assert_int_equal(qg_dynamic_encode(maps->unsigned_map, -3.0f), 0);
  assert_int_equal(qg_dynamic_encode(maps->unsigned_map, INFINITY), LAST);
  assert_int_equal(qg_dynamic_encode(maps->unsigned_map, NAN), 0);
}

static void expect_same_code(float x)
{
  const qg_dynamic_maps *maps = qg_dynamic_maps_get();
  const qg_dynamic_searches *searches = qg_dynamic_searches_get();
  int plain_signed = qg_dynamic_encode_signed(maps->signed_map, x);
  int plain_unsigned = qg_dynamic_encode(maps->unsigned_map, x);
  if (qg_dynamic_find(&searches->of_signed, x) != plain_signed)
    fail_msg("signed code of %a is %d, not %d", (double)x, qg_dynamic_find(&searches->of_signed, x),
             plain_signed);
  if (qg_dynamic_find(&searches->of_unsigned, x) != plain_unsigned)
    fail_msg("unsigned code of %a is %d, not %d", (double)x, qg_dynamic_find(&searches->of_unsigned, x),
             plain_unsigned);
}

static void expect_same_code_around(float x)
{
  expect_same_code(x);
  expect_same_code(nextafterf(x, INFINITY));
  expect_same_code(nextafterf(x, -INFINITY));
}

/* Where the plain search steps up from `code`: between two neighbours that bisection finds. */
static float step_of(uint8_t (*encode)(const float *, float), const float *map, int code)
{
  int64_t low = qg_float_key(-FLT_MAX), high = qg_float_key(FLT_MAX);
  while (high - low > 1) {
    int64_t middle = low + (high - low) / 2;
    if (encode(map, qg_float_from_key((int32_t)middle)) <= code) low = middle;
    else
      high = middle;
  }
  return qg_float_from_key((int32_t)low);
}

static float place_in_bin(uint32_t bin, uint32_t place, bool negative)
{
  uint32_t bits = (uint32_t)QG_SEARCH_LOW + (bin << QG_SEARCH_SHIFT);
  bits |= negative ? place ^ QG_SEARCH_LAST_PLACE : place;
  float x;
  memcpy(&x, &bits, sizeof x);
  return negative ? -x : x;
}

static void expect_same_codes_of_bin(const qg_dynamic_search *search, uint32_t bin)
{
  expect_same_code_around(place_in_bin(bin, 0, false));
  expect_same_code_around(-place_in_bin(bin, 0, false));
  expect_same_code_around(place_in_bin(bin, search->entry[bin] >> QG_DYNAMIC_CODE_BITS, false));
  expect_same_code_around(
      place_in_bin(bin, search->entry[QG_SEARCH_BINS + bin] >> QG_DYNAMIC_CODE_BITS, true));
}

/* Both searches are step functions of x. The plain one steps up between codes only; the fast one where a bin
 * begins and at its place of change. Where they agree on both sides of all these places, they agree
 * everywhere between. */
static void the_fast_search_equals_the_plain_one_at_every_step(void **state)
{
  (void)state;
  const qg_dynamic_maps *maps = qg_dynamic_maps_get();
  const qg_dynamic_searches *searches = qg_dynamic_searches_get();
  for (int code = 0; code < LAST; code++) {
    expect_same_code_around(step_of(qg_dynamic_encode_signed, maps->signed_map, code));
    expect_same_code_around(step_of(qg_dynamic_encode, maps->unsigned_map, code));
  }
  for (uint32_t bin = 0; bin < QG_SEARCH_BINS; bin++) {
    expect_same_codes_of_bin(&searches->of_signed, bin);
    expect_same_codes_of_bin(&searches->of_unsigned, bin);
  }
  expect_same_code_around(0.0f);
  expect_same_code(-0.0f);
  expect_same_code_around(1.0f);
  expect_same_code_around(-1.0f);
}

/* The stride is odd, so all mantissas come up; about two million numbers of every size, and NaNs. */
static void the_fast_search_equals_the_plain_one_over_all_bit_patterns_in_strides(void **state)
{
  (void)state;
  enum { STRIDE = 2039 };
  for (uint64_t bits = 0; bits <= UINT32_MAX; bits += STRIDE) {
    uint32_t pattern = (uint32_t)bits;
    float x;
    memcpy(&x, &pattern, sizeof x);
    expect_same_code(x);
  }
}

/* The first steps of Adam on a constant gradient move by lr, whatever the gradient's size: bias correction.
 */
static void adam_moves_by_the_learning_rate_at_first(void **state)
{
  (void)state;
  static const float gradients[] = {1e-4f, -3.0f};
  for (int k = 0; k < 2; k++) {
    float m = 0.0f, v = 0.0f;
    for (int t = 1; t <= 3; t++) {
      qg_adam_factors factors = qg_adam_factors_make(1.0f, 0.01f, 0.9f, 0.95f, 1e-8f, t, false);
      float delta = qg_adam_step(factors, gradients[k], &m, &v);
      assert_true(QG_CLOSE(delta / copysignf(0.01f, gradients[k]), -1.0, QG_TOL_ADAM_FIRST));
    }
  }
}

static void adam_ignores_a_gradient_that_is_no_number_or_whose_square_overflows(void **state)
{
  (void)state;
  static const float bad[] = {NAN, INFINITY, -INFINITY, 2e19f, -3e38f};
  qg_adam_factors factors = qg_adam_factors_make(1.0f, 0.01f, 0.9f, 0.95f, 1e-8f, 5, false);
  for (int k = 0; k < 5; k++) {
    float m = 0.5f, v = 0.25f, m_zero = 0.5f, v_zero = 0.25f;
    float delta = qg_adam_step(factors, bad[k], &m, &v);
    assert_true(delta == qg_adam_step(factors, 0.0f, &m_zero, &v_zero));
    assert_true(m == m_zero && v == v_zero);
  }
}

/* Whatever gradients came, exact moments stay within the bound, so that keeping them there changes nothing.
 */
static void the_bound_on_moments_never_touches_exact_ones(void **state)
{
  (void)state;
  float m = 0.0f, v = 0.0f, m_free = 0.0f, v_free = 0.0f;
  for (int t = 1; t <= 200; t++) {
    float grad = powf(-1.7f, (float)(t % 40)) * 1e-3f;
    qg_adam_factors bound = qg_adam_factors_make(1.0f, 0.01f, 0.9f, 0.95f, 1e-8f, t, true);
    qg_adam_factors unbound = qg_adam_factors_make(1.0f, 0.01f, 0.9f, 0.95f, 1e-8f, t, false);
    float delta = qg_adam_step(bound, grad, &m, &v), free = qg_adam_step(unbound, grad, &m_free, &v_free);
    assert_true(QG_CLOSE(delta / free, 1.0, QG_TOL_F32_SUM));
    m = m_free;
    v = v_free;
  }
}

/* v rounded to 0 beside an m that is not: a gradient of 0 would move the weight by m / eps. */
static void the_bound_keeps_a_step_of_rounded_moments_small(void **state)
{
  (void)state;
  qg_adam_factors bound = qg_adam_factors_make(1.0f, 0.01f, 0.9f, 0.95f, 1e-8f, 100, true);
  qg_adam_factors unbound = qg_adam_factors_make(1.0f, 0.01f, 0.9f, 0.95f, 1e-8f, 100, false);
  float m = 1e-4f, v = 0.0f, m_free = m, v_free = v;
  assert_true(fabsf(qg_adam_step(unbound, 0.0f, &m_free, &v_free)) > 10.0f);
  assert_true(fabsf(qg_adam_step(bound, 0.0f, &m, &v)) < 0.012f);
  assert_true(qg_adam_bound(0.95f, 0.9f) == 0.0f); /* no such bound exists */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_bound_on_moments_never_touches_exact_ones),
      cmocka_unit_test(the_bound_keeps_a_step_of_rounded_moments_small),
      cmocka_unit_test(the_maps_have_the_published_values),
      cmocka_unit_test(the_maps_ascend_and_the_signed_one_mirrors_itself),
      cmocka_unit_test(every_value_of_a_map_has_its_own_code),
      cmocka_unit_test(the_code_is_the_nearest),
      cmocka_unit_test(a_negative_moment_never_gets_a_code_that_is_not_negative),
      cmocka_unit_test(numbers_beyond_the_map_get_its_ends_and_nan_gets_zero),
      cmocka_unit_test(the_fast_search_equals_the_plain_one_at_every_step),
      cmocka_unit_test(the_fast_search_equals_the_plain_one_over_all_bit_patterns_in_strides),
      cmocka_unit_test(adam_moves_by_the_learning_rate_at_first),
      cmocka_unit_test(adam_ignores_a_gradient_that_is_no_number_or_whose_square_overflows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
