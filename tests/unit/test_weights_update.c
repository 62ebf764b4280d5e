/* What is promised: what an update stores is a function of the weight, the seed, the parameter, the element
 * and the step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "qgalore/numerics/bf16.h"
#include "qgalore/numerics/finite_guard.h"
#include "support/fixtures/tolerances.h"
#include "support/fixtures/weights_fixture.h"

enum { SEED = 5, STEP = 3 };

/* Weights that begin with noise 1, and an update of noise 2 that is a fifth of them. */
typedef struct {
  weights_fixture f;
  float before[MATRIX_ELEMENTS];
  float *update; /* device */
} updated;

static void update_open(updated *u, const weights_setup *setup, const qg_param *params)
{
  float noise[MATRIX_ELEMENTS];
  weights_open_params(&u->f, setup, params);
  weights_noise(1, MATRIX_ELEMENTS, noise);
  weights_set(&u->f, MATRIX, noise);
  weights_get(&u->f, MATRIX, u->before);
  weights_noise(2, MATRIX_ELEMENTS, noise);
  for (int i = 0; i < MATRIX_ELEMENTS; i++) noise[i] *= 0.2f;
  assert_ok(qg_mem_alloc(u->f.mem, QG_OWNER_DATA, "update", sizeof noise, (void **)&u->update));
  assert_ok(u->f.ops.copy_in(&u->f.be, u->update, noise, sizeof noise));
}

static void update_part(updated *u, int64_t step, float decay, int64_t first, int64_t count)
{
  qg_weight_update update = {.param = MATRIX,
                             .first = first,
                             .count = count,
                             .update = u->update + first,
                             .decay = decay,
                             .step = step};
  assert_ok(qg_weights_update(u->f.weights, &update));
}

/* The weights after one update of all. */
static void updated_weights(const weights_setup *setup, const qg_param *params, int64_t step, float *out)
{
  updated u;
  update_open(&u, setup, params);
  update_part(&u, step, 0.0f, 0, MATRIX_ELEMENTS);
  weights_get(&u.f, MATRIX, out);
  weights_close(&u.f);
}

/* A group that is stored anew: a fresh step and zero, and codes by the rule. */
static void store_group(const updated *u, const qg_weight_options *options, float decay, int64_t first,
                        float *out)
{
  const qg_rng rng = {options->seed, STEP, (uint32_t)weights_params[MATRIX].id, QG_RNG_ROUND};
  int64_t end = qg_min_i64(first + QG_GROUP, MATRIX_ELEMENTS);
  float low = INFINITY, high = -INFINITY;
  for (int64_t i = first; i < end; i++) {
    out[i] = qg_weight_step(u->before[i], u->update[i], decay, options->bf16_arithmetic);
    low = fminf(low, out[i]);
    high = fmaxf(high, out[i]);
  }
  qg_group_params p = qg_group_fit(low, high, QG_INT8_LEVELS, options->include_zero);
  for (int64_t i = first; i < end; i++) {
    uint8_t code = options->stochastic ? qg_group_encode_stochastic(out[i], p, QG_INT8_LEVELS,
                                                                    qg_rng_unit_at(rng, (uint64_t)i))
                                       : qg_group_encode(out[i], p, QG_INT8_LEVELS);
    out[i] = qg_group_decode(code, p);
  }
}

static void expect_requantised(qg_weight_options options, float decay)
{
  updated u;
  float expected[MATRIX_ELEMENTS], got[MATRIX_ELEMENTS];
  options.seed = SEED;
  update_open(&u, &(weights_setup){.format = QG_WEIGHT_INT8, .options = options}, weights_params);
  for (int64_t first = 0; first < MATRIX_ELEMENTS; first += QG_GROUP)
    store_group(&u, &options, decay, first, expected);
  update_part(&u, STEP, decay, 0, MATRIX_ELEMENTS);
  weights_get(&u.f, MATRIX, got);
  assert_memory_equal(got, expected, sizeof got);
  assert_memory_not_equal(got, u.before, sizeof got);
  weights_close(&u.f);
}

static void an_int8_update_is_stored_in_fresh_groups(void **state)
{
  (void)state;
  expect_requantised((qg_weight_options){0}, 0.0f);
  expect_requantised((qg_weight_options){.include_zero = true}, 0.01f);
  expect_requantised((qg_weight_options){.stochastic = true}, 0.0f);
  expect_requantised((qg_weight_options){.stochastic = true, .include_zero = true}, 0.01f);
  expect_requantised((qg_weight_options){.stochastic = true, .bf16_arithmetic = true}, 0.01f);
}

static void an_fp32_update_is_a_sum(void **state)
{
  (void)state;
  updated u;
  float got[MATRIX_ELEMENTS];
  update_open(&u, &(weights_setup){.format = QG_WEIGHT_F32}, weights_params);
  update_part(&u, STEP, 0.0f, 0, MATRIX_ELEMENTS);
  weights_get(&u.f, MATRIX, got);
  for (int i = 0; i < MATRIX_ELEMENTS; i++) assert_true(got[i] == u.before[i] + u.update[i]);
  weights_close(&u.f);
}

static void a_bf16_update_is_rounded_to_a_neighbour(void **state)
{
  (void)state;
  for (int stochastic = 0; stochastic <= 1; stochastic++) {
    updated u;
    float got[MATRIX_ELEMENTS];
    int nearest = 0;
    update_open(&u, &(weights_setup){.format = QG_WEIGHT_BF16, .options = {.stochastic = stochastic}},
                weights_params);
    update_part(&u, STEP, 0.0f, 0, MATRIX_ELEMENTS);
    weights_get(&u.f, MATRIX, got);
    for (int i = 0; i < MATRIX_ELEMENTS; i++) {
      float exact = u.before[i] + u.update[i];
      nearest += got[i] == qg_bf16_round(exact);
      assert_true(fabsf(got[i] - exact) <= fabsf(exact) / 128.0f);
    }
    if (stochastic) assert_in_range(nearest, MATRIX_ELEMENTS / 2, MATRIX_ELEMENTS * 9 / 10);
    else
      assert_int_equal(nearest, MATRIX_ELEMENTS);
    weights_close(&u.f);
  }
}

/* The same key gives the same bits; the step, the seed and the id are part of it, and the index is not. */
static void rounding_is_keyed_by_seed_step_and_id(void **state)
{
  (void)state;
  const qg_weight_format rounded[] = {QG_WEIGHT_BF16, QG_WEIGHT_INT8};
  qg_param renamed[WEIGHTS_COUNT];
  float first[MATRIX_ELEMENTS], other[MATRIX_ELEMENTS];
  memcpy(renamed, weights_params, sizeof renamed);
  renamed[MATRIX].id++;
  for (int i = 0; i < QG_COUNT_OF(rounded); i++) {
    weights_setup setup = {.format = rounded[i], .options = {.stochastic = true, .seed = SEED}},
                  reseeded = setup;
    reseeded.options.seed++;
    updated_weights(&setup, weights_params, STEP, first);
    updated_weights(&setup, weights_params, STEP, other);
    assert_memory_equal(first, other, sizeof first);
    updated_weights(&setup, weights_params, STEP + 1, other);
    assert_memory_not_equal(first, other, sizeof first);
    updated_weights(&reseeded, weights_params, STEP, other);
    assert_memory_not_equal(first, other, sizeof first);
    updated_weights(&setup, renamed, STEP, other);
    assert_memory_not_equal(first, other, sizeof first);
  }
}

static void an_update_in_pieces_is_the_same_update(void **state)
{
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(weights_formats); i++) {
    weights_setup setup = {.format = weights_formats[i], .options = {.stochastic = true, .seed = SEED}};
    updated u;
    float whole[MATRIX_ELEMENTS], pieces[MATRIX_ELEMENTS];
    updated_weights(&setup, weights_params, STEP, whole);
    update_open(&u, &setup, weights_params);
    for (int64_t first = 0; first < MATRIX_ELEMENTS; first += 3 * QG_GROUP)
      update_part(&u, STEP, 0.0f, first, qg_min_i64(3 * QG_GROUP, MATRIX_ELEMENTS - first));
    weights_get(&u.f, MATRIX, pieces);
    assert_memory_equal(whole, pieces, sizeof whole);
    weights_close(&u.f);
  }
}

/* A tenth of a step, which rounding to nearest would lose. */
static void small_updates_are_kept_on_average(void **state)
{
  (void)state;
  const double tenth = 0.1, deviation = 0.3; /* of a number that is 1 in one of ten cases */
  updated u;
  float got[MATRIX_ELEMENTS];
  double sum = 0.0;
  update_open(&u, &(weights_setup){.format = QG_WEIGHT_INT8, .options = {.stochastic = true}},
              weights_params);
  for (int i = 0; i < MATRIX_ELEMENTS; i++) u.update[i] = (float)tenth * weights_step(&u.f, MATRIX, i);
  update_part(&u, STEP, 0.0f, 0, MATRIX_ELEMENTS);
  weights_get(&u.f, MATRIX, got);
  for (int i = 0; i < MATRIX_ELEMENTS; i++)
    sum += (double)(got[i] - u.before[i]) / (double)weights_step(&u.f, MATRIX, i);
  assert_true(fabs(sum / MATRIX_ELEMENTS - tenth) < QG_TOL_SAMPLE_SIGMAS * deviation / sqrt(MATRIX_ELEMENTS));
  weights_close(&u.f);
}

static void a_closed_guard_keeps_the_weights(void **state)
{
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(weights_formats); i++) {
    updated u;
    float got[MATRIX_ELEMENTS];
    qg_finite_guard closed = {.sum = INFINITY}, open = {0};
    update_open(&u, &(weights_setup){.format = weights_formats[i]}, weights_params);
    qg_weight_update update = {
        .param = MATRIX, .count = MATRIX_ELEMENTS, .update = u.update, .guard = &closed};
    assert_ok(qg_weights_update(u.f.weights, &update));
    weights_get(&u.f, MATRIX, got);
    assert_memory_equal(got, u.before, sizeof got);
    update.guard = &open;
    assert_ok(qg_weights_update(u.f.weights, &update));
    weights_get(&u.f, MATRIX, got);
    assert_memory_not_equal(got, u.before, sizeof got);
    weights_close(&u.f);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_int8_update_is_stored_in_fresh_groups),
      cmocka_unit_test(an_fp32_update_is_a_sum),
      cmocka_unit_test(a_bf16_update_is_rounded_to_a_neighbour),
      cmocka_unit_test(rounding_is_keyed_by_seed_step_and_id),
      cmocka_unit_test(an_update_in_pieces_is_the_same_update),
      cmocka_unit_test(small_updates_are_kept_on_average),
      cmocka_unit_test(a_closed_guard_keeps_the_weights),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
