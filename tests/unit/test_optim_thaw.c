/* Parameters that are frozen between steps, and thawed again: a thawed one starts as before its first step,
 * and the others notice nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_freezing.h"

enum { STEPS = 3 };

/* What all ranks solve together needs MPI, and gradients are in fp32 here. */
static bool steps_alone(const kind *k)
{
  return !k->distributed && !k->bf16;
}

static void expect_as_before_the_first_step(const kind *k)
{
  fixture plain, later, earlier;
  kind_open(&plain, k, NULL);
  kind_open(&later, k, NULL);
  kind_open(&earlier, k, chosen(k));
  freeze_chosen(&later);
  thaw_chosen(&later);
  thaw_chosen(&earlier);
  run_steps(&plain, 0, STEPS + 2);
  run_steps(&later, 0, STEPS + 2);
  run_steps(&earlier, 0, STEPS + 2);
  for (int i = 0; i < param_count(&plain); i++) {
    expect_same_bits(&plain, &later, i);
    expect_same_bits(&plain, &earlier, i);
  }
  fixture_close(&plain);
  fixture_close(&later);
  fixture_close(&earlier);
}

static void before_the_first_step_they_make_no_difference(void **state)
{
  (void)state;
  for (int k = 0; k < QG_COUNT_OF(kinds); k++)
    if (steps_alone(&kinds[k])) expect_as_before_the_first_step(&kinds[k]);
}

static void expect_a_fresh_start(const kind *k)
{
  fixture thawed, reset;
  kind_open(&thawed, k, NULL);
  kind_open(&reset, k, NULL);
  run_steps(&thawed, 0, STEPS);
  run_steps(&reset, 0, STEPS);
  freeze_chosen(&thawed);
  thaw_chosen(&thawed);
  make_chosen_fresh(&reset, k);
  assert_int_equal(state_digest(&thawed), state_digest(&reset));
  run_steps(&thawed, STEPS, STEPS + 2);
  run_steps(&reset, STEPS, STEPS + 2);
  for (int i = 0; i < param_count(&thawed); i++) expect_same_bits(&thawed, &reset, i);
  fixture_close(&thawed);
  fixture_close(&reset);
}

static void a_thawed_parameter_starts_like_a_fresh_one(void **state)
{
  (void)state;
  for (int k = 0; k < QG_COUNT_OF(kinds); k++)
    if (steps_alone(&kinds[k])) expect_a_fresh_start(&kinds[k]);
}

static void step_of(fixture *f, const qg_param *p, int64_t step)
{
  assert_ok(qg_optim_begin(f->optim, step));
  qg_optim_set_rates(f->optim, 0.01, 1.0);
  send_noise_gradient(f, p, step, 0);
  assert_ok(qg_optim_finish_gradients(f->optim));
  assert_ok(qg_optim_apply(f->optim, 0.01, 1.0));
}

/* A matrix so wide that its gradient is solved from its factors. */
static void an_implicit_one_too(void **state)
{
  (void)state;
  fixture thawed, reset, untouched;
  fixture *all[] = {&thawed, &reset, &untouched};
  for (int i = 0; i < 3; i++) kind_open(all[i], &implicit_kind, NULL);
  const qg_param *q = param_of(&thawed, QG_ROLE_Q, 0);
  int index = index_of(&thawed, q);
  assert_true(qg_subspace_prefers_implicit(QG_SUBSPACE_AUTO, q->rows, q->cols, FREEZING_TOKENS));
  for (int i = 0; i < 2; i++) step_of(all[i], param_at(all[i], index), 0);
  assert_int_equal(tracker_of(&thawed, q)->refreshes, 1);
  assert_ok(qg_optim_freeze(thawed.optim, index));
  assert_ok(qg_optim_thaw(thawed.optim, index));
  make_fresh(&reset, &untouched, index);
  for (int i = 0; i < 2; i++) step_of(all[i], param_at(all[i], index), 1);
  assert_int_equal(tracker_of(&thawed, q)->refreshes, 1);
  expect_same_bits(&thawed, &reset, index);
  for (int i = 0; i < 3; i++) fixture_close(all[i]);
}

static void expect_learning_of_the_others(const kind *k)
{
  fixture all, some;
  uint32_t weights[FREEZING_PARAMS_MAX];
  kind_open(&all, k, NULL);
  kind_open(&some, k, NULL);
  run_steps(&all, 0, 3 * STEPS);
  run_steps(&some, 0, STEPS);
  freeze_chosen(&some);
  for (int i = 0; i < param_count(&some); i++) weights[i] = param_digest(&some, param_at(&some, i), true);
  run_steps(&some, STEPS, STEPS);
  for (int i = 0; i < param_count(&some); i++)
    assert_int_equal(param_digest(&some, param_at(&some, i), true) == weights[i], is_chosen(&some, i));
  thaw_chosen(&some);
  run_steps(&some, 2 * STEPS, STEPS);
  for (int i = 0; i < param_count(&some); i++) {
    if (!is_chosen(&some, i)) expect_same_bits(&all, &some, i);
    assert_int_not_equal(param_digest(&some, param_at(&some, i), true), weights[i]);
  }
  fixture_close(&all);
  fixture_close(&some);
}

static void the_others_keep_their_bits(void **state)
{
  (void)state;
  for (int k = 0; k < QG_COUNT_OF(kinds); k++)
    if (steps_alone(&kinds[k])) expect_learning_of_the_others(&kinds[k]);
}

/* --- state --- */

static void expect_same_list(const fixture *a, const fixture *b)
{
  int a_count, b_count;
  const qg_state_entry *list = entries_of(a, &a_count), *other = entries_of(b, &b_count);
  assert_int_equal(a_count, b_count);
  for (int i = 0; i < a_count; i++) {
    assert_string_equal(list[i].dataset, other[i].dataset);
    assert_int_equal(list[i].item, other[i].item);
    assert_int_equal(list[i].items, other[i].items);
    assert_int_equal(list[i].type, other[i].type);
    assert_int_equal(list[i].elements, other[i].elements);
    assert_non_null(list[i].data);
  }
}

static void the_state_is_that_of_what_is_trained(void **state)
{
  (void)state;
  for (int k = 0; k < QG_COUNT_OF(kinds); k++) {
    fixture all, some, changed;
    kind_open(&all, &kinds[k], NULL);
    kind_open(&some, &kinds[k], chosen(&kinds[k]));
    kind_open(&changed, &kinds[k], NULL);
    expect_same_list(&changed, &all);
    freeze_chosen(&changed);
    expect_same_list(&changed, &some);
    thaw_chosen(&changed);
    expect_same_list(&changed, &all);
    fixture_close(&all);
    fixture_close(&some);
    fixture_close(&changed);
  }
}

/* --- calls --- */

static void a_second_time_has_no_effect(void **state)
{
  (void)state;
  fixture f;
  kind_open(&f, &kinds[0], NULL);
  run_steps(&f, 0, STEPS);
  uint32_t learned = state_digest(&f);
  account before = account_of(&f);
  thaw_chosen(&f);
  assert_int_equal(state_digest(&f), learned);
  expect_account(&f, &before);
  freeze_chosen(&f);
  account without = account_of(&f);
  uint32_t frozen = state_digest(&f);
  freeze_chosen(&f);
  expect_account(&f, &without);
  assert_int_equal(state_digest(&f), frozen);
  thaw_chosen(&f);
  run_steps(&f, STEPS, STEPS);
  learned = state_digest(&f);
  thaw_chosen(&f);
  assert_int_equal(state_digest(&f), learned);
  expect_account(&f, &before);
  fixture_close(&f);
}

static void thawing_has_to_be_asked_for(void **state)
{
  (void)state;
  fixture f;
  kind_set(&f, &kinds[0], chosen(&kinds[0]));
  f.thaws = false;
  kind_start(&f, &kinds[0]);
  int q = qg_llama_param(&f.shape, QG_ROLE_Q, 0), k = qg_llama_param(&f.shape, QG_ROLE_K, 0);
  assert_ok(qg_optim_freeze(f.optim, k));
  account before = account_of(&f);
  assert_int_equal(qg_optim_thaw(f.optim, q), QG_ERR_RUNTIME);
  assert_non_null(strstr(qg_error_message(), param_at(&f, q)->name));
  assert_int_equal(qg_optim_thaw(f.optim, k), QG_ERR_RUNTIME);
  assert_null(qg_optim_sink_info(f.optim, q).sink);
  expect_account(&f, &before);
  run_steps(&f, 0, 1);
  fixture_close(&f);
}

static void there_has_to_be_such_a_parameter(void **state)
{
  (void)state;
  fixture f;
  kind_open(&f, &kinds[0], NULL);
  const int wrong[] = {-1, param_count(&f)};
  for (int i = 0; i < 2; i++) {
    assert_int_equal(qg_optim_freeze(f.optim, wrong[i]), QG_ERR_RUNTIME);
    assert_int_equal(qg_optim_thaw(f.optim, wrong[i]), QG_ERR_RUNTIME);
  }
  fixture_close(&f);
}

/* Whoever holds it: all ranks list the same state. */
static void a_parameter_of_another_stage_leaves_the_list_alone(void **state)
{
  (void)state;
  fixture f;
  const qg_partition embedding_only = {.has_embedding = true};
  kind_set(&f, &kinds[0], NULL);
  fixture_open(&f, &embedding_only, "fp32", FREEZING_TOKENS, 1);
  const qg_param *q = param_of(&f, QG_ROLE_Q, 0);
  account before = account_of(&f);
  assert_non_null(entry_of(&f, q, "projector", "codes"));
  assert_ok(qg_optim_freeze(f.optim, index_of(&f, q)));
  assert_null(entry_of(&f, q, "projector", "codes"));
  expect_account(&f, &before);
  assert_ok(qg_optim_thaw(f.optim, index_of(&f, q)));
  assert_non_null(entry_of(&f, q, "projector", "codes"));
  expect_account(&f, &before);
  run_steps(&f, 0, 1);
  fixture_close(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(before_the_first_step_they_make_no_difference),
      cmocka_unit_test(a_thawed_parameter_starts_like_a_fresh_one),
      cmocka_unit_test(an_implicit_one_too),
      cmocka_unit_test(the_others_keep_their_bits),
      cmocka_unit_test(the_state_is_that_of_what_is_trained),
      cmocka_unit_test(a_second_time_has_no_effect),
      cmocka_unit_test(thawing_has_to_be_asked_for),
      cmocka_unit_test(there_has_to_be_such_a_parameter),
      cmocka_unit_test(a_parameter_of_another_stage_leaves_the_list_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
