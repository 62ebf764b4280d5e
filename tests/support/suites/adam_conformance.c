#include "support/suites/adam_conformance.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* cmocka wants the four headers above first. */
#include <cmocka.h>

#include "qgalore/base.h"
#include "qgalore/numerics/adam.h"
#include "qgalore/numerics/dynamic_maps.h"
#include "support/fixtures/device_test.h"
#include "support/reference/quant_reference.h"

/* No multiple of any block length, and enough blocks for several threads. */
enum { COUNT = 17891 };

static const qg_dtype float_types[] = {QG_F32, QG_BF16};

static qg_adam_args adam_args(qg_dtype delta_type)
{
  qg_adam_args args = {.count = COUNT,
                       .grad_scale = 0.5f,
                       .lr = 0.01f,
                       .beta1 = 0.9f,
                       .beta2 = 0.95f,
                       .eps = 1e-8f,
                       .bounded = true,
                       .delta_type = delta_type};
  return args;
}

/* Gradients of step t: some elements, a whole block, and values whose square overflows are not to be trusted.
 */
static void fill_gradient(float *grad, int64_t t)
{
  for (int64_t i = 0; i < COUNT; i++) grad[i] = ref_normal((uint64_t)(t * COUNT + i), 1e-3f);
  for (int64_t i = 2048; i < 4096; i++) grad[i] = 0.0f;
  grad[7] = NAN;
  grad[300] = INFINITY;
  grad[301] = -INFINITY;
  grad[302] = 1e30f;
  grad[303] = 1e-30f;
  grad[304] = -1e-42f;
}

enum { ADAM_STEPS = 4 };

typedef struct {
  uint8_t m_codes[COUNT], v_codes[COUNT];
  float m_absmax[COUNT], v_absmax[COUNT]; /* room for any block length */
} moments_host;

static qg_adam_args with_8bit(qg_adam_args args, moments_host *host)
{
  args.m_codes = host->m_codes;
  args.v_codes = host->v_codes;
  args.m_absmax = host->m_absmax;
  args.v_absmax = host->v_absmax;
  return args;
}

static void check_adam_8bit(qg_backend *be, int64_t block, qg_dtype delta_type)
{
  static moments_host host;
  static float grad[COUNT], delta[COUNT];
  memset(&host, 0, sizeof host);
  qg_adam_args device = adam_args(delta_type);
  device.block = block;
  qg_adam_args plain = with_8bit(device, &host);
  plain.delta = delta;
  size_t delta_bytes = qg_dtype_bytes(delta_type, COUNT);
  device.m_codes = device_test_copy(be, host.m_codes, sizeof host.m_codes);
  device.v_codes = device_test_copy(be, host.v_codes, sizeof host.v_codes);
  device.m_absmax = device_test_copy(be, host.m_absmax, sizeof host.m_absmax);
  device.v_absmax = device_test_copy(be, host.v_absmax, sizeof host.v_absmax);
  for (int64_t t = 1; t <= ADAM_STEPS; t++) {
    fill_gradient(grad, t);
    plain.t = device.t = t;
    plain.grad = grad;
    device.grad = device_test_copy(be, grad, sizeof grad);
    device.delta = device_test_copy(be, delta, delta_bytes);
    assert_int_equal(be->ops->adam(be, &device), QG_OK);
    ref_adam(&plain);
    device_test_expect(be, device.delta, delta, delta_bytes);
    device_test_expect(be, (void *)device.grad, grad, sizeof grad);
  }
  device_test_expect(be, device.m_codes, host.m_codes, sizeof host.m_codes);
  device_test_expect(be, device.v_codes, host.v_codes, sizeof host.v_codes);
  device_test_expect(be, device.m_absmax, host.m_absmax, sizeof host.m_absmax);
  device_test_expect(be, device.v_absmax, host.v_absmax, sizeof host.v_absmax);
}

/* 8192 is longer than the tiles that kernels work in. */
static void adam_8bit_equals_the_plain_definition_at_any_block_length(void **state)
{
  static const int64_t blocks[] = {16, 100, 256, 2048, 8192};
  for (int k = 0; k < QG_COUNT_OF(blocks); k++)
    for (int type = 0; type < QG_COUNT_OF(float_types); type++)
      check_adam_8bit(*state, blocks[k], float_types[type]);
}

static void adam_f32_equals_the_plain_definition(void **state)
{
  qg_backend *be = *state;
  static float grad[COUNT], delta[COUNT], m[COUNT], v[COUNT];
  qg_adam_args plain = adam_args(QG_F32), device = plain;
  plain.m = m;
  plain.v = v;
  plain.delta = delta;
  device.m = device_test_copy(be, m, sizeof m);
  device.v = device_test_copy(be, v, sizeof v);
  for (int64_t t = 1; t <= ADAM_STEPS; t++) {
    fill_gradient(grad, t);
    plain.t = device.t = t;
    plain.grad = grad;
    device.grad = device_test_copy(be, grad, sizeof grad);
    device.delta = device_test_copy(be, delta, sizeof delta);
    assert_int_equal(be->ops->adam(be, &device), QG_OK);
    ref_adam(&plain);
    device_test_expect(be, device.delta, delta, sizeof delta);
    device_test_expect(be, (void *)device.grad, grad, sizeof grad);
  }
  device_test_expect(be, device.m, m, sizeof m);
  device_test_expect(be, device.v, v, sizeof v);
}

/* Bad gradients count as 0, so they leave no trace in moments and weights, however many steps follow. */
static void adam_never_stores_or_emits_a_non_finite_number(void **state)
{
  qg_backend *be = *state;
  static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f, -1e25f};
  enum { BAD = QG_COUNT_OF(bad), CODE_OF_ZERO = 127 };
  const float zeros[BAD] = {0.0f};
  const uint8_t m_codes[BAD] = {CODE_OF_ZERO, CODE_OF_ZERO, CODE_OF_ZERO, CODE_OF_ZERO, CODE_OF_ZERO};
  const uint8_t v_codes[BAD] = {0};
  qg_adam_args args = adam_args(QG_F32);
  args.count = BAD;
  args.block = QG_GROUP;
  args.t = 1;
  args.grad = device_test_copy(be, bad, sizeof bad);
  args.delta = device_test_copy(be, bad, sizeof bad);
  args.m_codes = device_test_copy(be, v_codes, sizeof m_codes);
  args.v_codes = device_test_copy(be, v_codes, sizeof v_codes);
  args.m_absmax = device_test_copy(be, zeros, sizeof zeros[0]);
  args.v_absmax = device_test_copy(be, zeros, sizeof zeros[0]);
  assert_int_equal(be->ops->adam(be, &args), QG_OK);
  float delta[BAD];
  assert_int_equal(be->ops->copy_out(be, delta, args.delta, sizeof delta), QG_OK);
  for (int i = 0; i < BAD; i++) assert_true(delta[i] == 0.0f);
  be->ops->release(be, args.delta, sizeof delta);
  device_test_expect(be, args.m_codes, m_codes, sizeof m_codes);
  device_test_expect(be, args.v_codes, v_codes, sizeof v_codes);
  device_test_expect(be, args.m_absmax, zeros, sizeof zeros[0]);
  device_test_expect(be, args.v_absmax, zeros, sizeof zeros[0]);
  device_test_expect(be, (void *)args.grad, bad, sizeof bad);
}

static void adam_takes_bf16_gradients_as_their_fp32_values(void **state)
{
  qg_backend *be = *state;
  static float grad[COUNT], delta[COUNT], m[COUNT], v[COUNT];
  static uint16_t halves[COUNT];
  qg_adam_args plain = adam_args(QG_F32);
  fill_gradient(grad, 1);
  for (int64_t i = 0; i < COUNT; i++) halves[i] = qg_bf16_from_float(grad[i]);
  memset(m, 0, sizeof m);
  memset(v, 0, sizeof v);
  plain.t = 1;
  plain.grad_type = QG_BF16;
  qg_adam_args device = plain;
  device.grad = device_test_copy(be, halves, sizeof halves);
  device.delta = device_test_copy(be, delta, sizeof delta);
  device.m = device_test_copy(be, m, sizeof m);
  device.v = device_test_copy(be, v, sizeof v);
  assert_int_equal(be->ops->adam(be, &device), QG_OK);
  plain.grad = halves;
  plain.delta = delta;
  plain.m = m;
  plain.v = v;
  ref_adam(&plain);
  device_test_expect(be, device.delta, delta, sizeof delta);
  device_test_expect(be, device.m, m, sizeof m);
  device_test_expect(be, device.v, v, sizeof v);
  device_test_expect(be, (void *)device.grad, halves, sizeof halves);
}

static void fill_moments(float *m, float *v)
{
  for (int64_t i = 0; i < COUNT; i++) {
    m[i] = ref_normal((uint64_t)i, 1e-3f);
    v[i] = m[i] * m[i] *
           fabsf(ref_normal((uint64_t)(COUNT + i), 1.0f)); /* some below m^2, as rounding leaves them */
  }
}

/* The stored form is compared after a round trip, the statistics in between. */
static void check_moments(qg_backend *be, qg_moments_args plain, qg_moments_args device, size_t bytes)
{
  device.mean = device_test_copy(be, plain.mean, bytes);
  device.variance = device_test_copy(be, plain.variance, bytes);
  assert_int_equal(be->ops->read_moments(be, &device), QG_OK);
  ref_read_moments(&plain);
  float *mean = malloc(bytes), *variance = malloc(bytes);
  assert_int_equal(be->ops->copy_out(be, mean, device.mean, bytes), QG_OK);
  assert_int_equal(be->ops->copy_out(be, variance, device.variance, bytes), QG_OK);
  assert_memory_equal(mean, plain.mean, bytes);
  assert_memory_equal(variance, plain.variance, bytes);
  assert_int_equal(be->ops->write_moments(be, &device), QG_OK);
  ref_write_moments(&plain);
  be->ops->release(be, device.mean, bytes);
  be->ops->release(be, device.variance, bytes);
  free(mean);
  free(variance);
}

/* With moments of f32 (block 0) or of 8 bits in blocks. */
static void expect_adam_stops(qg_backend *be, qg_finite_guard *guard, int64_t block)
{
  static moments_host host;
  static float grad[COUNT], m[COUNT], v[COUNT], delta[COUNT];
  fill_gradient(grad, 1);
  fill_gradient(delta, 2);
  memset(&host, 1, sizeof host);
  qg_adam_args a = adam_args(QG_F32);
  a.t = 1;
  a.guard = guard;
  a.block = block;
  a.grad = device_test_copy(be, grad, sizeof grad);
  a.delta = device_test_copy(be, delta, sizeof delta);
  void *first = device_test_copy(be, m, sizeof m), *second = device_test_copy(be, v, sizeof v);
  moments_host *eight = device_test_copy(be, &host, sizeof host);
  if (block > 0) a = with_8bit(a, eight);
  else {
    a.m = first;
    a.v = second;
  }
  assert_int_equal(be->ops->adam(be, &a), QG_OK);
  device_test_expect(be, a.delta, delta, sizeof delta);
  device_test_expect(be, (void *)a.grad, grad, sizeof grad);
  device_test_expect(be, first, m, sizeof m);
  device_test_expect(be, second, v, sizeof v);
  device_test_expect(be, eight, &host, sizeof host);
}

static void adam_stops_at_a_closed_guard(void **state)
{
  qg_backend *be = *state;
  qg_finite_guard *guard = device_test_closed_guard(be);
  static const int64_t blocks[] = {0, QG_GROUP, 100};
  for (int i = 0; i < QG_COUNT_OF(blocks); i++) expect_adam_stops(be, guard, blocks[i]);
  be->ops->release(be, guard, sizeof *guard);
}

static void moments_become_statistics_and_moments_again_in_f32(void **state)
{
  qg_backend *be = *state;
  static float m[COUNT], v[COUNT], mean[COUNT], variance[COUNT];
  fill_moments(m, v);
  qg_moments_args plain = {
      .mean = mean, .variance = variance, .count = COUNT, .c1 = 0.4f, .c2_squared = 0.2f};
  plain.m = m;
  plain.v = v;
  qg_moments_args device = plain;
  device.m = device_test_copy(be, m, sizeof m);
  device.v = device_test_copy(be, v, sizeof v);
  check_moments(be, plain, device, sizeof m);
  device_test_expect(be, device.m, m, sizeof m);
  device_test_expect(be, device.v, v, sizeof v);
}

static qg_moments_args with_8bit_moments(qg_moments_args args, moments_host *host)
{
  args.m_codes = host->m_codes;
  args.v_codes = host->v_codes;
  args.m_absmax = host->m_absmax;
  args.v_absmax = host->v_absmax;
  return args;
}

static qg_moments_args copy_moments(qg_backend *be, qg_moments_args args, const moments_host *host)
{
  args.m_codes = device_test_copy(be, host->m_codes, sizeof host->m_codes);
  args.v_codes = device_test_copy(be, host->v_codes, sizeof host->v_codes);
  args.m_absmax = device_test_copy(be, host->m_absmax, sizeof host->m_absmax);
  args.v_absmax = device_test_copy(be, host->v_absmax, sizeof host->v_absmax);
  return args;
}

/* Releases the device's. */
static void expect_moments(qg_backend *be, qg_moments_args device, const moments_host *host)
{
  device_test_expect(be, device.m_codes, host->m_codes, sizeof host->m_codes);
  device_test_expect(be, device.v_codes, host->v_codes, sizeof host->v_codes);
  device_test_expect(be, device.m_absmax, host->m_absmax, sizeof host->m_absmax);
  device_test_expect(be, device.v_absmax, host->v_absmax, sizeof host->v_absmax);
}

static void check_8bit_moments(qg_backend *be, int64_t block)
{
  static moments_host host;
  static float m[COUNT], v[COUNT];
  qg_moments_args plain = with_8bit_moments(
      (qg_moments_args){
          .mean = m, .variance = v, .count = COUNT, .c1 = 1.0f, .c2_squared = 1.0f, .block = block},
      &host);
  fill_moments(m, v);
  ref_write_moments(&plain); /* some sound codes to begin with */
  plain.c1 = 0.4f;
  plain.c2_squared = 0.2f;
  qg_moments_args device = copy_moments(be, plain, &host);
  check_moments(be, plain, device, sizeof m);
  expect_moments(be, device, &host);
}

static void moments_become_statistics_and_moments_again_in_8_bits(void **state)
{
  static const int64_t blocks[] = {100, 256, 8192};
  for (int k = 0; k < QG_COUNT_OF(blocks); k++) check_8bit_moments(*state, blocks[k]);
}

static float ulps_away(float x, int ulps)
{
  return qg_float_from_key(qg_float_key(x) + ulps);
}

/* Moments around the middle of neighbouring codes, a few units in the last place off; every block has another
 * exponent. */
static void fill_near_changes(float *m, int64_t block, int ulps)
{
  const float *map = qg_dynamic_maps_get()->signed_map;
  for (int64_t i = 0; i < COUNT; i++) {
    int64_t index = i / block, code = qg_min_i64(i % block, QG_DYNAMIC_CODES - 1);
    float mantissa = index % 3 ? 1.0f + (float)index / 80.0f : ulps_away(2.0f, -1);
    float greatest = ldexpf(mantissa, 20 - 2 * (int)index);
    bool last = code == QG_DYNAMIC_CODES - 1;
    m[i] = last ? greatest : ulps_away(0.5f * (map[code] + map[code + 1]) * greatest, ulps);
  }
}

/* Quotients decide the codes, so a backend that makes them otherwise than by division shows where codes
 * change. */
static void codes_change_where_the_quotient_says_so(void **state)
{
  qg_backend *be = *state;
  static moments_host host;
  static float m[COUNT], v[COUNT];
  for (int ulps = -4; ulps <= 4; ulps++) {
    fill_near_changes(m, 256, ulps);
    qg_moments_args plain = with_8bit_moments(
        (qg_moments_args){
            .mean = m, .variance = v, .count = COUNT, .c1 = 1.0f, .c2_squared = 1.0f, .block = 256},
        &host);
    memset(v, 0, sizeof v);
    qg_moments_args device = copy_moments(be, plain, &host);
    device.mean = device_test_copy(be, m, sizeof m);
    device.variance = device_test_copy(be, v, sizeof v);
    ref_write_moments(&plain); /* over its statistics */
    assert_int_equal(be->ops->write_moments(be, &device), QG_OK);
    be->ops->release(be, device.mean, sizeof m);
    be->ops->release(be, device.variance, sizeof v);
    expect_moments(be, device, &host);
  }
}

static void the_number_of_threads_changes_nothing(void **state)
{
  qg_backend *be = *state;
  int threads = be->threads;
  for (be->threads = 1; be->threads <= 3; be->threads += 2) check_adam_8bit(be, 256, QG_F32);
  be->threads = threads;
}

int adam_conformance_run(qg_backend *be, const char *label)
{
  struct CMUnitTest tests[] = {
      cmocka_unit_test(adam_8bit_equals_the_plain_definition_at_any_block_length),
      cmocka_unit_test(adam_f32_equals_the_plain_definition),
      cmocka_unit_test(adam_never_stores_or_emits_a_non_finite_number),
      cmocka_unit_test(adam_takes_bf16_gradients_as_their_fp32_values),
      cmocka_unit_test(adam_stops_at_a_closed_guard),
      cmocka_unit_test(moments_become_statistics_and_moments_again_in_f32),
      cmocka_unit_test(moments_become_statistics_and_moments_again_in_8_bits),
      cmocka_unit_test(codes_change_where_the_quotient_says_so),
      cmocka_unit_test(the_number_of_threads_changes_nothing),
  };
  for (int i = 0; i < QG_COUNT_OF(tests); i++) tests[i].initial_state = be;
  return cmocka_run_group_tests_name(label, tests, NULL, NULL);
}
