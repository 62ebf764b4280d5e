/* What is promised: what the weights of a rank cost, how models read them, and what a checkpoint sees of
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "qgalore/numerics/bf16.h"
#include "support/fixtures/weights_fixture.h"

static const char *const precisions[] = {"fp32", "bf16"};

/* --- memory --- */

static size_t bytes_in(qg_weight_format format, int param)
{
  int64_t elements = weights_elements(param);
  bool vector = qg_param_is_vector(&weights_params[param]);
  if (!weights_params[param].held) return 0;
  if (format == QG_WEIGHT_INT8 && !vector) return (size_t)(elements + 5 * qg_group_count(elements));
  return (size_t)elements * (format == QG_WEIGHT_BF16 ? 2 : 4);
}

static void each_format_costs_its_bytes_where_a_weight_is_held(void **state)
{
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(weights_formats); i++) {
    weights_fixture f;
    size_t bytes = 0;
    weights_open(&f, &(weights_setup){.format = weights_formats[i]});
    for (int param = 0; param < WEIGHTS_COUNT; param++) bytes += bytes_in(weights_formats[i], param);
    assert_int_equal(qg_mem_bytes(f.mem, QG_OWNER_WEIGHTS), bytes);
    assert_int_equal(qg_weights_format(f.weights, MATRIX), weights_formats[i]);
    weights_close(&f);
  }
}

static void a_dry_ledger_counts_the_same(void **state)
{
  (void)state;
  for (int i = 0; i < 2 * QG_COUNT_OF(weights_formats); i++) {
    weights_setup setup = {.precision = precisions[i % 2], .format = weights_formats[i / 2]};
    weights_fixture f;
    qg_mem *dry;
    qg_weights *planned;
    qg_weight_staging staging;
    weights_open(&f, &setup);
    assert_ok(qg_mem_create(NULL, &dry));
    assert_ok(weights_create(&setup, dry, &f.be, f.params, &planned));
    assert_ok(qg_weights_take_scratch(planned, dry));
    assert_ok(qg_weights_take_staging(planned, dry, &staging));
    for (int owner = 0; owner < QG_OWNER_COUNT; owner++)
      assert_int_equal(qg_mem_bytes(dry, (qg_owner)owner), qg_mem_bytes(f.mem, (qg_owner)owner));
    qg_weights_destroy(planned);
    qg_mem_destroy(dry);
    weights_close(&f);
  }
}

/* Of all the scratch: the largest weight that is not stored in the compute type, in rows that begin at 16
 * bytes. */
static void expect_scratch(const char *precision, qg_weight_format format, size_t bytes)
{
  weights_fixture f;
  weights_open(&f, &(weights_setup){.precision = precision, .format = format});
  assert_int_equal(qg_weights_scratch_bytes(f.weights), bytes);
  assert_int_equal(qg_weights_unpacks(f.weights, MATRIX), bytes > 0);
  assert_int_equal(qg_weights_unpacks(f.weights, HEAD), bytes > 0);
  assert_int_equal(qg_weights_unpacks(f.weights, EMBED), format == QG_WEIGHT_INT8);
  assert_false(qg_weights_unpacks(f.weights, NORM));
  assert_false(qg_weights_unpacks(f.weights, ELSEWHERE));
  weights_close(&f);
}

static void scratch_holds_the_largest_weight_that_has_to_be_unpacked(void **state)
{
  (void)state;
  expect_scratch("fp32", QG_WEIGHT_F32, 0);
  expect_scratch("bf16", QG_WEIGHT_BF16, 0);
  expect_scratch("fp32", QG_WEIGHT_BF16, 4 * MATRIX_ROWS * 104);
  expect_scratch("bf16", QG_WEIGHT_F32, 2 * MATRIX_ROWS * 104);
  expect_scratch("fp32", QG_WEIGHT_INT8, 4 * MATRIX_ROWS * 104);
  expect_scratch("bf16", QG_WEIGHT_INT8, 2 * MATRIX_ROWS * 104);
}

static void vectors_have_a_copy_in_the_compute_type(void **state)
{
  (void)state;
  const size_t expected[] = {2 * NORM_COLS, 0, 2 * NORM_COLS}; /* f32, bf16, and f32 beside INT8 */
  for (int i = 0; i < QG_COUNT_OF(weights_formats); i++) {
    weights_setup setup = {.precision = "bf16", .format = weights_formats[i]};
    weights_fixture f;
    qg_mem *dry;
    qg_weights *planned;
    weights_backend_open(&f, &setup);
    memcpy(f.params, weights_params, sizeof f.params);
    assert_ok(qg_mem_create(NULL, &dry));
    assert_ok(weights_create(&setup, dry, &f.be, f.params, &planned));
    assert_int_equal(qg_mem_bytes(dry, QG_OWNER_WORKSPACE), expected[i]);
    qg_weights_destroy(planned);
    qg_mem_destroy(dry);
    qg_backend_close(f.real);
  }
}

static void a_vector_in_int8_is_refused(void **state)
{
  (void)state;
  qg_param norm = weights_params[NORM];
  qg_param_list list = {&norm, 1};
  qg_weight_format format = QG_WEIGHT_INT8;
  qg_weight_options options = {0};
  qg_backend sizing = {.compute = QG_F32};
  qg_mem *dry;
  qg_weights *weights;
  assert_ok(qg_mem_create(NULL, &dry));
  assert_int_equal(qg_weights_create(dry, &sizing, &list, &format, &options, &weights), QG_ERR_RUNTIME);
  assert_null(weights);
  qg_mem_destroy(dry);
}

/* --- reading --- */

static float element_of(qg_view view, int64_t row, int64_t col)
{
  int64_t at = row * view.stride + col;
  return view.type == QG_F32 ? ((const float *)view.data)[at]
                             : qg_bf16_to_float(((const uint16_t *)view.data)[at]);
}

/* A view of rows from `first` on against all values in fp32. */
static void expect_view(qg_view view, qg_dtype type, int64_t first, int64_t rows, const float *values)
{
  assert_int_equal(view.type, type);
  assert_int_equal(view.rows, rows);
  for (int64_t i = 0; i < rows * view.cols; i++) {
    float value = values[first * view.cols + i];
    float expected = type == QG_F32 ? value : qg_bf16_round(value);
    assert_true(element_of(view, i / view.cols, i % view.cols) == expected);
  }
}

/* Of a table that is only looked up the embedding kernel reads either type. */
static qg_dtype type_of_read(const weights_fixture *f, qg_weight_format format, int param)
{
  if (param != EMBED || format == QG_WEIGHT_INT8) return f->be.compute;
  return format == QG_WEIGHT_BF16 ? QG_BF16 : QG_F32;
}

static void expect_reads(weights_fixture *f, qg_weight_format format, int param)
{
  const qg_weight_reader *reader = qg_weights_reader(f->weights);
  int64_t rows = weights_params[param].rows;
  float values[MATRIX_ELEMENTS];
  qg_view view;
  weights_get(f, param, values);
  assert_ok(reader->read(reader->impl, param, &view));
  expect_view(view, type_of_read(f, format, param), 0, rows, values);
  if (qg_param_is_vector(&weights_params[param])) return;
  for (int64_t first = 0; first < rows; first += 3) {
    int64_t count = qg_min_i64(5, rows - first);
    assert_ok(reader->read_rows(reader->impl, param, first, count, &view));
    expect_view(view, f->be.compute, first, count, values);
  }
}

static void models_read_all_of_a_weight_or_rows_of_it_in_the_compute_type(void **state)
{
  (void)state;
  for (int i = 0; i < 2 * QG_COUNT_OF(weights_formats); i++) {
    weights_setup setup = {.precision = precisions[i % 2], .format = weights_formats[i / 2]};
    weights_fixture f;
    weights_open(&f, &setup);
    assert_ok(qg_weights_initialise(f.weights, &f.staging));
    for (int param = 0; param < WEIGHTS_COUNT; param++)
      if (weights_params[param].held) expect_reads(&f, setup.format, param);
    weights_close(&f);
  }
}

static void matrices_share_a_scratch_and_vectors_stay(void **state)
{
  (void)state;
  weights_fixture f;
  qg_view norm, first, second;
  float values[NORM_COLS];
  weights_open(&f, &(weights_setup){.precision = "bf16", .format = QG_WEIGHT_INT8});
  assert_ok(qg_weights_initialise(f.weights, &f.staging));
  const qg_weight_reader *reader = qg_weights_reader(f.weights);
  weights_get(&f, NORM, values);
  assert_ok(reader->read(reader->impl, NORM, &norm));
  assert_ok(reader->read(reader->impl, MATRIX, &first));
  assert_ok(reader->read(reader->impl, HEAD, &second));
  assert_ptr_equal(first.data, second.data);
  expect_view(norm, QG_BF16, 0, 1, values);
  weights_close(&f);
}

/* Calls of the CPU are done when they return: there is nothing to run at the same time, and no second
 * scratch. */
static void nothing_is_unpacked_ahead_on_the_cpu(void **state)
{
  (void)state;
  weights_fixture f;
  float values[MATRIX_ELEMENTS];
  qg_view view;
  weights_open(&f, &(weights_setup){.format = QG_WEIGHT_INT8});
  size_t workspace = qg_weights_scratch_bytes(f.weights) + qg_dtype_bytes(QG_F32, f.staging.elements);
  assert_false(qg_weights_prefetches(f.weights));
  assert_int_equal(qg_mem_bytes(f.mem, QG_OWNER_WORKSPACE), workspace);
  assert_ok(qg_weights_initialise(f.weights, &f.staging));
  const qg_weight_reader *reader = qg_weights_reader(f.weights);
  weights_get(&f, HEAD, values);
  assert_ok(reader->read(reader->impl, HEAD, &view));
  if (reader->prefetch) assert_ok(reader->prefetch(reader->impl, MATRIX));
  expect_view(view, QG_F32, 0, weights_params[HEAD].rows, values);
  weights_get(&f, MATRIX, values);
  assert_ok(reader->read(reader->impl, MATRIX, &view));
  expect_view(view, QG_F32, 0, MATRIX_ROWS, values);
  weights_close(&f);
}

/* --- state --- */

typedef struct {
  const char *dataset;
  int param;
  qg_dtype type;
  int64_t elements;
} expected_entry;

static void expect_entry(const qg_state_entry *entry, const expected_entry *expected)
{
  const qg_param *param = &weights_params[expected->param];
  assert_string_equal(entry->dataset, expected->dataset);
  assert_int_equal(entry->type, expected->type);
  assert_int_equal(entry->elements, expected->elements);
  assert_int_equal(entry->items, param->layers);
  assert_int_equal(entry->item, qg_max_i64(0, param->layer));
  assert_int_equal(entry->data != NULL, param->held);
  assert_int_equal(entry->owner, param->owned);
  assert_true(entry->on_device);
}

static void expect_state(qg_weight_format format, const expected_entry *expected, int count)
{
  weights_fixture f;
  qg_state_list list = {0};
  weights_open(&f, &(weights_setup){.format = format});
  for (int param = 0; param < WEIGHTS_COUNT; param++)
    assert_ok(qg_weights_list_state(f.weights, param, &list));
  assert_int_equal(list.count, count);
  for (int i = 0; i < count; i++) expect_entry(&list.entries[i], &expected[i]);
  free(list.entries);
  weights_close(&f);
}

static void a_checkpoint_sees_the_stored_arrays_of_all_parameters(void **state)
{
  (void)state;
  const expected_entry dense[] = {{"weights/embed/values", EMBED, QG_BF16, 720},
                                  {"weights/up/values", ELSEWHERE, QG_BF16, 4800},
                                  {"weights/up/values", MATRIX, QG_BF16, MATRIX_ELEMENTS},
                                  {"weights/down/values", SMALL, QG_BF16, 200},
                                  {"weights/norm/values", NORM, QG_BF16, NORM_COLS},
                                  {"weights/head/values", HEAD, QG_BF16, 1200}};
  const expected_entry packed[] = {
      {"weights/embed/codes", EMBED, QG_U8, 720},  {"weights/embed/scale", EMBED, QG_F32, 3},
      {"weights/embed/zero", EMBED, QG_U8, 3},     {"weights/up/codes", ELSEWHERE, QG_U8, 4800},
      {"weights/up/scale", ELSEWHERE, QG_F32, 19}, {"weights/up/zero", ELSEWHERE, QG_U8, 19},
      {"weights/up/codes", MATRIX, QG_U8, 4800},   {"weights/up/scale", MATRIX, QG_F32, 19},
      {"weights/up/zero", MATRIX, QG_U8, 19},      {"weights/down/codes", SMALL, QG_U8, 200},
      {"weights/down/scale", SMALL, QG_F32, 1},    {"weights/down/zero", SMALL, QG_U8, 1},
      {"weights/norm/values", NORM, QG_F32, 96},   {"weights/head/codes", HEAD, QG_U8, 1200},
      {"weights/head/scale", HEAD, QG_F32, 5},     {"weights/head/zero", HEAD, QG_U8, 5}};
  expect_state(QG_WEIGHT_BF16, dense, QG_COUNT_OF(dense));
  expect_state(QG_WEIGHT_INT8, packed, QG_COUNT_OF(packed));
}

static void what_is_loaded_is_read_once_it_is_announced(void **state)
{
  (void)state;
  weights_fixture f;
  float values[NORM_COLS];
  qg_view view;
  weights_open(&f, &(weights_setup){.precision = "bf16", .format = QG_WEIGHT_F32});
  assert_ok(qg_weights_initialise(f.weights, &f.staging));
  weights_noise(1, NORM_COLS, values);
  memcpy(weights_stored(&f, NORM, "values"), values, sizeof values);
  assert_ok(qg_weights_changed(f.weights));
  const qg_weight_reader *reader = qg_weights_reader(f.weights);
  assert_ok(reader->read(reader->impl, NORM, &view));
  expect_view(view, QG_BF16, 0, 1, values);
  weights_close(&f);
}

/* --- mistakes --- */

static void what_is_not_held_is_refused(void **state)
{
  (void)state;
  const int strangers[] = {ELSEWHERE, -1, WEIGHTS_COUNT};
  weights_fixture f;
  float values[MATRIX_ELEMENTS] = {0};
  qg_view view;
  weights_open(&f, &(weights_setup){.format = QG_WEIGHT_INT8});
  const qg_weight_reader *reader = qg_weights_reader(f.weights);
  for (int i = 0; i < QG_COUNT_OF(strangers); i++) {
    int param = strangers[i];
    qg_weight_update update = {.param = param, .count = MATRIX_ELEMENTS, .update = values};
    assert_int_equal(reader->read(reader->impl, param, &view), QG_ERR_RUNTIME);
    assert_int_equal(reader->read_rows(reader->impl, param, 0, 1, &view), QG_ERR_RUNTIME);
    if (reader->prefetch) assert_int_equal(reader->prefetch(reader->impl, param), QG_ERR_RUNTIME);
    assert_int_equal(qg_weights_get_rows(f.weights, &f.staging, param, 0, 1, values), QG_ERR_RUNTIME);
    assert_int_equal(qg_weights_set_rows(f.weights, &f.staging, param, 0, 1, values), QG_ERR_RUNTIME);
    assert_int_equal(qg_weights_update(f.weights, &update), QG_ERR_RUNTIME);
  }
  weights_close(&f);
}

static void rows_that_a_weight_has_not_are_refused(void **state)
{
  (void)state;
  const int64_t wrong[][2] = {{-1, 1}, {0, MATRIX_ROWS + 1}, {MATRIX_ROWS, 1}, {2, -1}};
  for (int i = 0; i < QG_COUNT_OF(weights_formats); i++) {
    weights_fixture f;
    float values[MATRIX_ELEMENTS + MATRIX_COLS] = {0};
    qg_view view;
    weights_open(&f, &(weights_setup){.format = weights_formats[i]});
    const qg_weight_reader *reader = qg_weights_reader(f.weights);
    for (int j = 0; j < QG_COUNT_OF(wrong); j++) {
      int64_t first = wrong[j][0], count = wrong[j][1];
      assert_int_equal(reader->read_rows(reader->impl, MATRIX, first, count, &view), QG_ERR_RUNTIME);
      assert_int_equal(qg_weights_get_rows(f.weights, &f.staging, MATRIX, first, count, values),
                       QG_ERR_RUNTIME);
      assert_int_equal(qg_weights_set_rows(f.weights, &f.staging, MATRIX, first, count, values),
                       QG_ERR_RUNTIME);
    }
    weights_close(&f);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_format_costs_its_bytes_where_a_weight_is_held),
      cmocka_unit_test(a_dry_ledger_counts_the_same),
      cmocka_unit_test(scratch_holds_the_largest_weight_that_has_to_be_unpacked),
      cmocka_unit_test(vectors_have_a_copy_in_the_compute_type),
      cmocka_unit_test(a_vector_in_int8_is_refused),
      cmocka_unit_test(models_read_all_of_a_weight_or_rows_of_it_in_the_compute_type),
      cmocka_unit_test(matrices_share_a_scratch_and_vectors_stay),
      cmocka_unit_test(nothing_is_unpacked_ahead_on_the_cpu),
      cmocka_unit_test(a_checkpoint_sees_the_stored_arrays_of_all_parameters),
      cmocka_unit_test(what_is_loaded_is_read_once_it_is_announced),
      cmocka_unit_test(what_is_not_held_is_refused),
      cmocka_unit_test(rows_that_a_weight_has_not_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
