#include "support/suites/quant_conformance.h"

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
#include "support/fixtures/device_test.h"
#include "support/reference/quant_reference.h"

/* Rows of 1376 (the MLP width of LLaMA 60M) are no multiple of 256: groups straddle rows, and the last one is
 * short. */
enum { ROWS = 13, COLS = 1376, COUNT = ROWS * COLS + 3, GROUPS = (COUNT + QG_GROUP - 1) / QG_GROUP };

/* The kinds of group that formats stumble over, each a whole group. */
static void plant_special_groups(float *x)
{
  for (int i = 0; i < QG_GROUP; i++) {
    x[0 * QG_GROUP + i] = 0.0f;
    x[1 * QG_GROUP + i] = 0.25f;
    x[2 * QG_GROUP + i] = fabsf(x[2 * QG_GROUP + i]) + 0.02f;
    x[3 * QG_GROUP + i] = -fabsf(x[3 * QG_GROUP + i]) - 0.02f;
    x[4 * QG_GROUP + i] *= 1e30f;
    x[5 * QG_GROUP + i] *= 1e-30f;
    x[6 * QG_GROUP + i] = 0.5f * (float)(i - 100); /* halves: ties of the rounding */
  }
  x[7 * QG_GROUP + 5] = NAN;
  x[8 * QG_GROUP + 200] = -INFINITY;
  x[9 * QG_GROUP + 1] = -0.0f;
  x[10 * QG_GROUP + 7] = copysignf(NAN, -1.0f);
  x[11 * QG_GROUP + 3] = NAN;
  x[11 * QG_GROUP + 9] = -INFINITY;
}

typedef struct {
  uint8_t codes[COUNT], zero[GROUPS];
  float scale[GROUPS];
} int8_host;

static qg_int8_store host_int8(int8_host *host)
{
  qg_int8_store store = {host->codes, host->scale, host->zero};
  return store;
}

static qg_int8_store device_int8(qg_backend *be, const int8_host *host)
{
  qg_int8_store store = {device_test_copy(be, host->codes, sizeof host->codes),
                         device_test_copy(be, host->scale, sizeof host->scale),
                         device_test_copy(be, host->zero, sizeof host->zero)};
  return store;
}

static void expect_int8(qg_backend *be, qg_int8_store device, const int8_host *expected)
{
  device_test_expect(be, device.codes, expected->codes, sizeof expected->codes);
  device_test_expect(be, device.scale, expected->scale, sizeof expected->scale);
  device_test_expect(be, device.zero, expected->zero, sizeof expected->zero);
}

static void int8_codes_equal_the_plain_definition(void **state)
{
  qg_backend *be = *state;
  float *w = device_test_normals(COUNT, 0.02f);
  plant_special_groups(w);
  for (int variant = 0; variant < 4; variant++) {
    qg_int8_rule rule = {.include_zero = variant & 1, .bf16_arithmetic = variant & 2};
    static int8_host expected, untouched;
    ref_quantize_int8(w, COUNT, rule, host_int8(&expected));
    qg_int8_store device = device_int8(be, &untouched);
    float *src = device_test_copy(be, w, COUNT * sizeof *w);
    assert_int_equal(be->ops->quantize_int8(be, src, COUNT, rule, device), QG_OK);
    expect_int8(be, device, &expected);
    device_test_expect(be, src, w, COUNT * sizeof *w);
  }
  free(w);
}

/* Compares decoded values with expected ones in both output types; NaN equals NaN, whatever its bits. */
static void expect_values(qg_backend *be, void *device, qg_dtype type, const float *expected)
{
  size_t bytes = qg_dtype_bytes(type, COUNT);
  void *host = malloc(bytes);
  assert_non_null(host);
  assert_int_equal(be->ops->copy_out(be, host, device, bytes), QG_OK);
  for (int64_t i = 0; i < COUNT; i++) {
    float want = type == QG_F32 ? expected[i] : qg_bf16_round(expected[i]);
    float got = type == QG_F32 ? ((float *)host)[i] : qg_bf16_to_float(((uint16_t *)host)[i]);
    if (isnan(want)) assert_true(isnan(got));
    else
      assert_memory_equal(&got, &want, sizeof got);
  }
  free(host);
  be->ops->release(be, device, bytes);
}

static const qg_dtype float_types[] = {QG_F32, QG_BF16};

/* Weights as *host tells them, [COUNT], to be freed. */
static float *decoded_int8(int8_host *host)
{
  float *w = device_test_normals(COUNT, 0.02f);
  plant_special_groups(w);
  ref_quantize_int8(w, COUNT, (qg_int8_rule){.include_zero = true}, host_int8(host));
  ref_dequantize_int8(host_int8(host), COUNT, w);
  return w;
}

static void int8_decodes_to_f32_and_bf16(void **state)
{
  qg_backend *be = *state;
  static int8_host host;
  float *w = decoded_int8(&host);
  for (int k = 0; k < QG_COUNT_OF(float_types); k++) {
    qg_int8_store device = device_int8(be, &host);
    void *out = device_test_copy(be, w, qg_dtype_bytes(float_types[k], COUNT));
    assert_int_equal(be->ops->dequantize_int8(be, device, qg_view_make(out, float_types[k], 1, COUNT)),
                     QG_OK);
    expect_values(be, out, float_types[k], w);
    expect_int8(be, device, &host);
  }
  free(w);
}

/* Rows of `cols` elements, padded with `gap`: the padding keeps its 1. */
static void check_int8_rows(qg_backend *be, qg_int8_store device, const float *w, int64_t cols, int64_t gap)
{
  int64_t rows = COUNT / cols, stride = cols + gap, elements = rows * stride;
  uint16_t *host = malloc((size_t)elements * sizeof *host);
  assert_non_null(host);
  for (int64_t e = 0; e < elements; e++) host[e] = qg_bf16_from_float(1.0f);
  qg_view dst =
      qg_view_make(device_test_copy(be, host, (size_t)elements * sizeof *host), QG_BF16, rows, cols);
  dst.stride = stride;
  assert_int_equal(be->ops->dequantize_int8(be, device, dst), QG_OK);
  assert_int_equal(be->ops->copy_out(be, host, dst.data, (size_t)elements * sizeof *host), QG_OK);
  for (int64_t e = 0; e < elements; e++) {
    int64_t i = e / stride, j = e % stride;
    float got = qg_bf16_to_float(host[e]), want = j < cols ? qg_bf16_round(w[i * cols + j]) : 1.0f;
    assert_true(got == want || (isnan(got) && isnan(want)));
  }
  be->ops->release(be, dst.data, (size_t)elements * sizeof *host);
  free(host);
}

static void int8_decodes_into_padded_rows(void **state)
{
  static const int64_t shapes[][2] = {{1, 7}, {5, 3}, {67, 5}, {255, 1}, {256, 8}, {261, 3}, {COLS - 1, 1}};
  qg_backend *be = *state;
  static int8_host host;
  float *w = decoded_int8(&host);
  qg_int8_store device = device_int8(be, &host);
  for (int k = 0; k < QG_COUNT_OF(shapes); k++) check_int8_rows(be, device, w, shapes[k][0], shapes[k][1]);
  expect_int8(be, device, &host);
  free(w);
}

typedef struct {
  uint8_t codes[(COUNT + 1) / 2], zero[GROUPS];
  float scale[GROUPS];
} int4_host;

static void int4_codes_and_values_equal_the_plain_definition(void **state)
{
  qg_backend *be = *state;
  float *w = device_test_normals(COUNT, 0.05f), *values = device_test_normals(COUNT, 1.0f);
  plant_special_groups(w);
  for (int variant = 0; variant < 4; variant++) {
    bool include_zero = variant & 1;
    qg_dtype type = float_types[variant / 2];
    static int4_host expected, untouched;
    qg_int4_store want = {expected.codes, expected.scale, expected.zero};
    ref_quantize_int4(w, COUNT, include_zero, want);
    ref_dequantize_int4(want, COUNT, values);
    qg_int4_store device = {device_test_copy(be, untouched.codes, sizeof untouched.codes),
                            device_test_copy(be, untouched.scale, sizeof untouched.scale),
                            device_test_copy(be, untouched.zero, sizeof untouched.zero)};
    float *src = device_test_copy(be, w, COUNT * sizeof *w);
    void *out = device_test_copy(be, values, qg_dtype_bytes(type, COUNT));
    assert_int_equal(be->ops->quantize_int4(be, src, COUNT, include_zero, device), QG_OK);
    assert_int_equal(be->ops->dequantize_int4(be, device, COUNT, out, type), QG_OK);
    expect_values(be, out, type, values);
    device_test_expect(be, device.codes, expected.codes, sizeof expected.codes);
    device_test_expect(be, device.scale, expected.scale, sizeof expected.scale);
    device_test_expect(be, device.zero, expected.zero, sizeof expected.zero);
    device_test_expect(be, src, w, COUNT * sizeof *w);
  }
  free(w);
  free(values);
}

static qg_update_int8_args update_args(qg_int8_rule rule, float decay)
{
  qg_update_int8_args args = {.count = COUNT,
                              .decay = decay,
                              .rule = rule,
                              .rng = {.seed = 11, .step = 5, .tensor = 3, .purpose = QG_RNG_ROUND}};
  return args;
}

static void start_weights(int8_host *host)
{
  float *w = device_test_normals(COUNT, 0.02f);
  ref_quantize_int8(w, COUNT, (qg_int8_rule){.include_zero = true}, host_int8(host));
  free(w);
}

static void int8_update_equals_the_plain_definition(void **state)
{
  qg_backend *be = *state;
  float *update = device_test_normals(COUNT, 1e-3f);
  plant_special_groups(update);
  for (int variant = 0; variant < 8; variant++) {
    static int8_host host;
    start_weights(&host);
    qg_int8_rule rule = {
        .include_zero = variant & 1, .stochastic = variant & 2, .bf16_arithmetic = variant & 4};
    qg_update_int8_args args = update_args(rule, variant & 1 ? 0.01f : 0.0f);
    args.store = device_int8(be, &host);
    args.update = device_test_copy(be, update, COUNT * sizeof *update);
    assert_int_equal(be->ops->update_int8(be, &args), QG_OK);
    qg_update_int8_args plain = args;
    plain.store = host_int8(&host);
    plain.update = update;
    ref_update_int8(&plain);
    expect_int8(be, args.store, &host);
    device_test_expect(be, (void *)args.update, update, COUNT * sizeof *update);
  }
  free(update);
}

/* A matrix may be updated in slabs of rows: the codes do not depend on how it was cut. */
static void int8_update_in_parts_equals_the_update_at_once(void **state)
{
  qg_backend *be = *state;
  float *update = device_test_normals(COUNT, 1e-3f);
  static int8_host host;
  start_weights(&host);
  qg_update_int8_args args = update_args((qg_int8_rule){.include_zero = true, .stochastic = true}, 0.01f);
  args.store = device_int8(be, &host);
  float *device_update = device_test_copy(be, update, COUNT * sizeof *update);
  static const int64_t cuts[] = {0, 2 * QG_GROUP, 40 * QG_GROUP, COUNT};
  for (int part = 0; part + 1 < QG_COUNT_OF(cuts); part++) {
    args.first = cuts[part];
    args.count = cuts[part + 1] - cuts[part];
    args.update = device_update + cuts[part];
    assert_int_equal(be->ops->update_int8(be, &args), QG_OK);
  }
  qg_update_int8_args plain = update_args(args.rule, args.decay);
  plain.store = host_int8(&host);
  plain.update = update;
  ref_update_int8(&plain);
  expect_int8(be, args.store, &host);
  device_test_expect(be, device_update, update, COUNT * sizeof *update);
  free(update);
}

static void int8_update_refuses_a_first_element_inside_a_group(void **state)
{
  qg_backend *be = *state;
  qg_update_int8_args args = {.first = 100, .count = 0};
  assert_int_equal(be->ops->update_int8(be, &args), QG_ERR_RUNTIME);
  qg_error_clear();
}

/* Dense weights of one type in host memory, big enough for either. */
typedef union {
  float f32[COUNT];
  uint16_t bf16[COUNT];
} dense_host;

static void start_dense(dense_host *host, qg_dtype type)
{
  for (int64_t i = 0; i < COUNT; i++) {
    float w = ref_normal((uint64_t)i, 0.02f);
    if (type == QG_F32) host->f32[i] = w;
    else
      host->bf16[i] = qg_bf16_from_float(w);
  }
}

static void dense_update_equals_the_plain_definition(void **state)
{
  qg_backend *be = *state;
  float *update = device_test_normals(COUNT, 1e-4f);
  for (int variant = 0; variant < 4; variant++) {
    static dense_host host;
    qg_dtype type = float_types[variant / 2];
    size_t bytes = qg_dtype_bytes(type, COUNT);
    start_dense(&host, type);
    qg_update_dense_args args = {.type = type,
                                 .first = 1001,
                                 .count = COUNT,
                                 .decay = 1e-3f,
                                 .stochastic = variant & 1,
                                 .rng = {.seed = 2, .purpose = QG_RNG_ROUND}};
    args.weights = device_test_copy(be, &host, bytes);
    args.update = device_test_copy(be, update, COUNT * sizeof *update);
    assert_int_equal(be->ops->update_dense(be, &args), QG_OK);
    qg_update_dense_args plain = args;
    plain.weights = &host;
    plain.update = update;
    ref_update_dense(&plain);
    device_test_expect(be, args.weights, &host, bytes);
    device_test_expect(be, (void *)args.update, update, COUNT * sizeof *update);
  }
  free(update);
}

static void updates_stop_at_a_closed_guard(void **state)
{
  qg_backend *be = *state;
  float *update = device_test_normals(COUNT, 1e-3f);
  static int8_host host;
  static dense_host dense;
  start_weights(&host);
  start_dense(&dense, QG_F32);
  qg_finite_guard *guard = device_test_closed_guard(be);
  qg_update_int8_args int8 = update_args((qg_int8_rule){.stochastic = true}, 0.01f);
  qg_update_dense_args args = {.type = QG_F32, .count = COUNT, .decay = 0.01f, .guard = guard};
  int8.guard = guard;
  int8.store = device_int8(be, &host);
  args.weights = device_test_copy(be, &dense, sizeof dense);
  int8.update = args.update = device_test_copy(be, update, COUNT * sizeof *update);
  assert_int_equal(be->ops->update_int8(be, &int8), QG_OK);
  assert_int_equal(be->ops->update_dense(be, &args), QG_OK);
  expect_int8(be, int8.store, &host);
  device_test_expect(be, args.weights, &dense, sizeof dense);
  be->ops->release(be, (void *)args.update, COUNT * sizeof *update);
  be->ops->release(be, guard, sizeof *guard);
  free(update);
}

static void the_number_of_threads_changes_nothing(void **state)
{
  qg_backend *be = *state;
  int threads = be->threads;
  for (be->threads = 1; be->threads <= 3; be->threads += 2) {
    int8_codes_equal_the_plain_definition(state);
    int8_update_equals_the_plain_definition(state);
    dense_update_equals_the_plain_definition(state);
  }
  be->threads = threads;
}

int quant_conformance_run(qg_backend *be, const char *label)
{
  struct CMUnitTest tests[] = {
      cmocka_unit_test(int8_codes_equal_the_plain_definition),
      cmocka_unit_test(int8_decodes_to_f32_and_bf16),
      cmocka_unit_test(int8_decodes_into_padded_rows),
      cmocka_unit_test(int4_codes_and_values_equal_the_plain_definition),
      cmocka_unit_test(int8_update_equals_the_plain_definition),
      cmocka_unit_test(int8_update_in_parts_equals_the_update_at_once),
      cmocka_unit_test(int8_update_refuses_a_first_element_inside_a_group),
      cmocka_unit_test(dense_update_equals_the_plain_definition),
      cmocka_unit_test(updates_stop_at_a_closed_guard),
      cmocka_unit_test(the_number_of_threads_changes_nothing),
  };
  for (int i = 0; i < QG_COUNT_OF(tests); i++) tests[i].initial_state = be;
  return cmocka_run_group_tests_name(label, tests, NULL, NULL);
}
