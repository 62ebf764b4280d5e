/* What is promised: values go to the host and back by rows, whatever the format, the memory and the staging.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "qgalore/numerics/bf16.h"
#include "support/fixtures/weights_fixture.h"

/* Half a step, and the rounding of fp32. */
static const float HALF_STEP = 0.5001f;

/* A value that was set and is read again. */
static void expect_stored(const weights_fixture *f, qg_weight_format format, int param, int64_t element,
                          float value, float got)
{
  if (format == QG_WEIGHT_INT8 && !qg_param_is_vector(&weights_params[param]))
    assert_true(fabsf(got - value) <= HALF_STEP * weights_step(f, param, element));
  else
    assert_true(got == (format == QG_WEIGHT_BF16 ? qg_bf16_round(value) : value));
}

static void expect_whole_round_trip(weights_fixture *f, qg_weight_format format, int param)
{
  float values[MATRIX_ELEMENTS], got[MATRIX_ELEMENTS];
  int64_t count = weights_elements(param);
  weights_noise((uint64_t)param, count, values);
  weights_set(f, param, values);
  weights_get(f, param, got);
  for (int64_t i = 0; i < count; i++) expect_stored(f, format, param, i, values[i], got[i]);
}

/* The staging holds the largest parameter, or two groups. */
static void what_is_set_is_read_again(void **state)
{
  (void)state;
  const int64_t staged[] = {MATRIX_ELEMENTS, 2 * QG_GROUP};
  for (int i = 0; i < 4 * QG_COUNT_OF(weights_formats); i++) {
    weights_setup setup = {.format = weights_formats[i / 4], .separate_memory = i % 2};
    weights_fixture f;
    weights_open(&f, &setup);
    f.staging = weights_small_staging(&f, staged[i / 2 % 2]);
    for (int param = 0; param < WEIGHTS_COUNT; param++)
      if (weights_params[param].held) expect_whole_round_trip(&f, setup.format, param);
    weights_close(&f);
  }
}

/* Of MATRIX: within a group, from its beginning, across several, the last one, and all. */
static const int64_t ranges[][2] = {{1, 1}, {0, 3}, {5, 4}, {32, 1}, {20, 27}, {46, 2}, {0, MATRIX_ROWS}};

typedef struct {
  float values[MATRIX_ELEMENTS];
  uint8_t codes[MATRIX_ELEMENTS];
} matrix_copy;

static void copy_matrix(weights_fixture *f, qg_weight_format format, matrix_copy *out)
{
  *out = (matrix_copy){0};
  weights_get(f, MATRIX, out->values);
  if (format == QG_WEIGHT_INT8) memcpy(out->codes, weights_stored(f, MATRIX, "codes"), sizeof out->codes);
}

/* Elements outside of [begin, end) after that was set: as before, but for INT8 in the groups that are shared
 * with it, which have a new step. */
static void expect_neighbours(weights_fixture *f, qg_weight_format format, const matrix_copy *before,
                              int64_t begin, int64_t end)
{
  int64_t first_group = begin / QG_GROUP, last_group = (end - 1) / QG_GROUP;
  matrix_copy after;
  copy_matrix(f, format, &after);
  for (int64_t i = 0; i < MATRIX_ELEMENTS; i++) {
    bool shared = format == QG_WEIGHT_INT8 && i / QG_GROUP >= first_group && i / QG_GROUP <= last_group;
    if (i >= begin && i < end) continue;
    if (shared)
      assert_true(fabsf(after.values[i] - before->values[i]) <= HALF_STEP * weights_step(f, MATRIX, i));
    else {
      assert_true(after.values[i] == before->values[i]);
      assert_int_equal(after.codes[i], before->codes[i]);
    }
  }
}

/* The new values are three times as large, so that groups which they join get another step. */
static void expect_range_round_trip(weights_fixture *f, qg_weight_format format, int64_t first, int64_t count)
{
  int64_t begin = first * MATRIX_COLS, elements = count * MATRIX_COLS;
  float values[MATRIX_ELEMENTS], got[MATRIX_ELEMENTS];
  matrix_copy before;
  weights_noise(1, MATRIX_ELEMENTS, values);
  weights_set(f, MATRIX, values);
  copy_matrix(f, format, &before);
  weights_noise(2, elements, values);
  for (int64_t i = 0; i < elements; i++) values[i] *= 3.0f;
  assert_ok(qg_weights_set_rows(f->weights, &f->staging, MATRIX, first, count, values));
  assert_ok(qg_weights_get_rows(f->weights, &f->staging, MATRIX, first, count, got));
  for (int64_t i = 0; i < elements; i++) expect_stored(f, format, MATRIX, begin + i, values[i], got[i]);
  expect_neighbours(f, format, &before, begin, begin + elements);
}

static void some_rows_are_set_beside_their_neighbours(void **state)
{
  (void)state;
  const int64_t staged[] = {MATRIX_ELEMENTS, QG_GROUP};
  for (int i = 0; i < 4 * QG_COUNT_OF(weights_formats); i++) {
    weights_setup setup = {.format = weights_formats[i / 4], .separate_memory = i % 2};
    weights_fixture f;
    weights_open(&f, &setup);
    f.staging = weights_small_staging(&f, staged[i / 2 % 2]);
    for (int j = 0; j < QG_COUNT_OF(ranges); j++)
      expect_range_round_trip(&f, setup.format, ranges[j][0], ranges[j][1]);
    weights_close(&f);
  }
}

static void some_rows_are_read_as_they_are_in_the_whole(void **state)
{
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(weights_formats); i++) {
    weights_fixture f;
    float whole[MATRIX_ELEMENTS], part[MATRIX_ELEMENTS];
    weights_open(&f, &(weights_setup){.format = weights_formats[i]});
    assert_ok(qg_weights_initialise(f.weights, &f.staging));
    weights_get(&f, MATRIX, whole);
    for (int j = 0; j < QG_COUNT_OF(ranges); j++) {
      int64_t first = ranges[j][0], count = ranges[j][1];
      assert_ok(qg_weights_get_rows(f.weights, &f.staging, MATRIX, first, count, part));
      assert_memory_equal(part, whole + first * MATRIX_COLS, (size_t)(count * MATRIX_COLS) * sizeof(float));
    }
    weights_close(&f);
  }
}

/* Writing what was read: an INT8 group gets its own codes again. */
static void codes_survive_the_way_to_the_host_and_back(void **state)
{
  (void)state;
  weights_fixture f;
  matrix_copy before, after;
  float values[MATRIX_ELEMENTS];
  weights_open(&f, &(weights_setup){.format = QG_WEIGHT_INT8});
  weights_noise(1, MATRIX_ELEMENTS, values);
  weights_set(&f, MATRIX, values);
  copy_matrix(&f, QG_WEIGHT_INT8, &before);
  weights_set(&f, MATRIX, before.values);
  copy_matrix(&f, QG_WEIGHT_INT8, &after);
  assert_memory_equal(before.codes, after.codes, sizeof before.codes);
  weights_close(&f);
}

/* Values of one sign: the range of their group reaches to 0 where the options say so. */
static void groups_contain_zero_where_that_is_asked_for(void **state)
{
  (void)state;
  weights_fixture f;
  float values[MATRIX_ELEMENTS], got[MATRIX_ELEMENTS];
  weights_open(&f, &(weights_setup){.format = QG_WEIGHT_INT8, .options = {.include_zero = true}});
  weights_noise(1, MATRIX_ELEMENTS, values);
  for (int i = 0; i < MATRIX_ELEMENTS; i++) values[i] = i % QG_GROUP ? values[i] + 0.3f : 0.4f;
  weights_set(&f, MATRIX, values);
  weights_get(&f, MATRIX, got);
  for (int i = 0; i < MATRIX_ELEMENTS; i++) {
    assert_true(weights_step(&f, MATRIX, i) == 0.4f / QG_INT8_LEVELS);
    expect_stored(&f, QG_WEIGHT_INT8, MATRIX, i, values[i], got[i]);
  }
  weights_close(&f);
}

static void no_rows_are_nothing_to_do(void **state)
{
  (void)state;
  weights_fixture f;
  matrix_copy before, after;
  weights_open(&f, &(weights_setup){.format = QG_WEIGHT_INT8});
  assert_ok(qg_weights_initialise(f.weights, &f.staging));
  copy_matrix(&f, QG_WEIGHT_INT8, &before);
  assert_ok(qg_weights_set_rows(f.weights, &f.staging, MATRIX, 7, 0, NULL));
  assert_ok(qg_weights_get_rows(f.weights, &f.staging, MATRIX, MATRIX_ROWS, 0, NULL));
  copy_matrix(&f, QG_WEIGHT_INT8, &after);
  assert_memory_equal(&before, &after, sizeof before);
  weights_close(&f);
}

static void set_vectors_are_read_once_the_change_is_announced(void **state)
{
  (void)state;
  weights_fixture f;
  float values[NORM_COLS];
  qg_view view;
  weights_open(&f, &(weights_setup){.precision = "bf16", .format = QG_WEIGHT_INT8});
  assert_ok(qg_weights_initialise(f.weights, &f.staging));
  weights_noise(1, NORM_COLS, values);
  weights_set(&f, NORM, values);
  const qg_weight_reader *reader = qg_weights_reader(f.weights);
  assert_ok(reader->read(reader->impl, NORM, &view));
  for (int i = 0; i < NORM_COLS; i++)
    assert_int_equal(((const uint16_t *)view.data)[i], qg_bf16_from_float(values[i]));
  weights_close(&f);
}

/* What is asked for: the largest parameter, or as many elements as the backend updates at once. */
static void staging_is_as_large_as_it_has_to_be(void **state)
{
  (void)state;
  weights_fixture f;
  weights_open(&f, &(weights_setup){.format = QG_WEIGHT_INT8});
  assert_int_equal(f.staging.elements, MATRIX_ELEMENTS);
  assert_ptr_equal(f.staging.host, f.staging.device);
  f.be.update_elements = 4 * QG_GROUP;
  assert_int_equal(qg_weights_staging_elements(f.weights), 4 * QG_GROUP);
  weights_close(&f);
  weights_open(&f, &(weights_setup){.format = QG_WEIGHT_INT8, .separate_memory = true});
  assert_ptr_not_equal(f.staging.host, f.staging.device);
  assert_int_equal(qg_mem_bytes_in(f.mem, QG_SPACE_HOST, QG_OWNER_WORKSPACE), 4 * MATRIX_ELEMENTS);
  weights_close(&f);
}

static void staging_of_less_than_a_group_is_refused(void **state)
{
  (void)state;
  weights_fixture f;
  float values[MATRIX_ELEMENTS] = {0};
  weights_open(&f, &(weights_setup){.format = QG_WEIGHT_INT8});
  qg_weight_staging little = weights_small_staging(&f, QG_GROUP - 1);
  assert_int_equal(qg_weights_get_rows(f.weights, &little, MATRIX, 0, 1, values), QG_ERR_RUNTIME);
  assert_int_equal(qg_weights_set_rows(f.weights, &little, MATRIX, 0, 1, values), QG_ERR_RUNTIME);
  little.elements = weights_elements(SMALL); /* which is a whole parameter */
  assert_ok(qg_weights_set_rows(f.weights, &little, SMALL, 3, 1, values));
  weights_close(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_set_is_read_again),
      cmocka_unit_test(some_rows_are_set_beside_their_neighbours),
      cmocka_unit_test(some_rows_are_read_as_they_are_in_the_whole),
      cmocka_unit_test(codes_survive_the_way_to_the_host_and_back),
      cmocka_unit_test(groups_contain_zero_where_that_is_asked_for),
      cmocka_unit_test(no_rows_are_nothing_to_do),
      cmocka_unit_test(set_vectors_are_read_once_the_change_is_announced),
      cmocka_unit_test(staging_is_as_large_as_it_has_to_be),
      cmocka_unit_test(staging_of_less_than_a_group_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
