/* Memory of parameters that are frozen and thawed between steps: exactly theirs goes and comes back, in a
 * reservation too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_freezing.h"

enum { STEPS = 3 };

/* Of a parameter's state in one group. */
static size_t state_bytes(const fixture *f, const qg_param *p, const char *group)
{
  int count;
  size_t bytes = 0, length = strlen(group);
  const qg_state_entry *entries = entries_of(f, &count);
  for (int i = 0; i < count; i++)
    if (belongs_to(&entries[i], p) && strncmp(entries[i].dataset, group, length) == 0)
      bytes += entry_bytes(&entries[i]);
  return bytes;
}

/* What Adam sees, unless all fused ones share it; with a G of its own, or the other part of a tied one. */
static size_t gradient_bytes(const fixture *f, const qg_param *p)
{
  qg_sink_info info = sink_of(f, p);
  bool second =
      p->tied || strcmp(info.sink, "accumulated full gradient") == 0 || strcmp(info.sink, "distributed") == 0;
  size_t seen = qg_dtype_bytes(info.gradient.type, info.gradient.rows * info.gradient.cols);
  return (info.fused ? 0 : seen) + (second ? qg_dtype_bytes(QG_F32, qg_param_elements(p)) : 0);
}

static void expect_its_bytes(fixture *f, int param)
{
  const qg_param *p = param_at(f, param);
  account before = account_of(f), after = before;
  after.bytes[QG_OWNER_GRADIENTS] -= gradient_bytes(f, p);
  after.bytes[QG_OWNER_MOMENTS] -= state_bytes(f, p, "moments/");
  after.bytes[QG_OWNER_PROJECTORS] -= state_bytes(f, p, "projector/");
  assert_ok(qg_optim_freeze(f->optim, param));
  after.device = account_of(f).device;
  assert_in_range(after.device, 0, before.device - 1);
  expect_account(f, &after);
  assert_ok(qg_optim_thaw(f->optim, param));
  expect_account(f, &before);
}

static void exactly_what_a_parameter_holds_goes_and_comes_back(void **state)
{
  (void)state;
  for (int k = 0; k < QG_COUNT_OF(kinds); k++) {
    fixture f;
    kind_open(&f, &kinds[k], NULL);
    for (int i = 0; i < param_count(&f); i++) expect_its_bytes(&f, i);
    fixture_close(&f);
  }
}

static void of_implicit_gradients_too(void **state)
{
  (void)state;
  fixture f;
  kind_open(&f, &implicit_kind, NULL);
  const qg_param *q = param_of(&f, QG_ROLE_Q, 0);
  assert_true(qg_subspace_prefers_implicit(QG_SUBSPACE_AUTO, q->rows, q->cols, FREEZING_TOKENS));
  for (int i = 0; i < param_count(&f); i++) expect_its_bytes(&f, i);
  fixture_close(&f);
}

static void without_trained_parameters_nothing_is_held(void **state)
{
  (void)state;
  for (int k = 0; k < QG_COUNT_OF(kinds); k++) {
    fixture f;
    kind_open(&f, &kinds[k], NULL);
    account before = account_of(&f);
    for (int i = 0; i < param_count(&f); i++) assert_ok(qg_optim_freeze(f.optim, i));
    assert_int_equal(qg_mem_bytes(f.mem, QG_OWNER_GRADIENTS), 0);
    assert_int_equal(qg_mem_bytes(f.mem, QG_OWNER_MOMENTS), 0);
    assert_int_equal(qg_mem_bytes(f.mem, QG_OWNER_PROJECTORS), 0);
    for (int i = param_count(&f) - 1; i >= 0; i--) assert_ok(qg_optim_thaw(f.optim, i));
    expect_account(&f, &before);
    fixture_close(&f);
  }
}

/* From the start or later: the same is missing. */
static void frozen_from_the_start_counts_as_frozen_later(void **state)
{
  (void)state;
  for (int k = 0; k < QG_COUNT_OF(kinds); k++) {
    fixture all, some;
    kind_open(&all, &kinds[k], NULL);
    kind_open(&some, &kinds[k], chosen(&kinds[k]));
    account whole_account = account_of(&all);
    assert_int_equal(qg_mem_bytes(some.mem, QG_OWNER_WORKSPACE), whole_account.bytes[QG_OWNER_WORKSPACE]);
    freeze_chosen(&all);
    account without = account_of(&all);
    expect_account(&some, &without);
    thaw_chosen(&some);
    expect_account(&some, &whole_account);
    fixture_close(&all);
    fixture_close(&some);
  }
}

/* Also where none is trained at first. */
static void scratch_is_that_of_all(void **state)
{
  (void)state;
  bool frozen[FREEZING_PARAMS_MAX];
  memset(frozen, true, sizeof frozen);
  for (int k = 0; k < QG_COUNT_OF(kinds); k++) {
    fixture all, none;
    kind_open(&all, &kinds[k], NULL);
    kind_open(&none, &kinds[k], frozen);
    account whole_account = account_of(&all);
    assert_int_equal(qg_mem_bytes(none.mem, QG_OWNER_WORKSPACE), whole_account.bytes[QG_OWNER_WORKSPACE]);
    for (int i = 0; i < param_count(&none); i++) assert_ok(qg_optim_thaw(none.optim, i));
    expect_account(&none, &whole_account);
    fixture_close(&all);
    fixture_close(&none);
  }
}

static void steps_after_a_thaw_allocate_nothing(void **state)
{
  (void)state;
  fixture f;
  kind_open(&f, &kinds[0], chosen(&kinds[0]));
  thaw_chosen(&f);
  int64_t before = qg_mem_allocations(f.mem);
  run_steps(&f, 0, STEPS);
  assert_int_equal(qg_mem_allocations(f.mem), before);
  fixture_close(&f);
}

/* --- memory in one piece --- */

static void reserved_open(fixture *f, const bool *frozen)
{
  kind_set(f, &kinds[0], frozen);
  f->separate_memory = f->reserved = true;
  kind_start(f, &kinds[0]);
}

static void reserved_memory_serves_it_again(void **state)
{
  (void)state;
  fixture reserved, reset;
  reserved_open(&reserved, NULL);
  kind_open(&reset, &kinds[0], NULL);
  account before = account_of(&reserved);
  run_steps(&reserved, 0, STEPS);
  run_steps(&reset, 0, STEPS);
  freeze_chosen(&reserved);
  thaw_chosen(&reserved);
  expect_account(&reserved, &before);
  make_chosen_fresh(&reset, &kinds[0]);
  run_steps(&reserved, STEPS, STEPS);
  run_steps(&reset, STEPS, STEPS);
  for (int i = 0; i < param_count(&reset); i++) expect_same_bits(&reserved, &reset, i);
  fixture_close(&reserved);
  fixture_close(&reset);
}

static void expect_no_room(fixture *f, int param)
{
  account before = account_of(f);
  assert_int_equal(qg_optim_thaw(f->optim, param), QG_ERR_RUNTIME);
  assert_non_null(strstr(qg_error_message(), "not in the plan"));
  assert_null(qg_optim_sink_info(f->optim, param).sink);
  expect_account(f, &before);
}

/* A failed thaw gives all back: K of the other layer, which has some of the sizes alone, is thawed after it.
 */
static void a_thaw_without_room_leaves_it_frozen(void **state)
{
  (void)state;
  fixture f;
  bool frozen[FREEZING_PARAMS_MAX] = {false};
  qg_model_shape shape = small_shape();
  int q = qg_llama_param(&shape, QG_ROLE_Q, 0), k = qg_llama_param(&shape, QG_ROLE_K, 1);
  int other_q = qg_llama_param(&shape, QG_ROLE_Q, 1);
  frozen[q] = true;
  reserved_open(&f, frozen);
  account before = account_of(&f);
  expect_no_room(&f, q);
  expect_no_room(&f, q);
  assert_ok(qg_optim_freeze(f.optim, k));
  expect_no_room(&f, q);
  run_steps(&f, 0, 1);
  assert_ok(qg_optim_thaw(f.optim, k));
  assert_ok(qg_optim_freeze(f.optim, other_q));
  assert_ok(qg_optim_thaw(f.optim, q));
  expect_account(&f, &before);
  run_steps(&f, 1, STEPS);
  assert_true(tracker_of(&f, param_at(&f, q))->refreshes > 0);
  fixture_close(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exactly_what_a_parameter_holds_goes_and_comes_back),
      cmocka_unit_test(of_implicit_gradients_too),
      cmocka_unit_test(without_trained_parameters_nothing_is_held),
      cmocka_unit_test(frozen_from_the_start_counts_as_frozen_later),
      cmocka_unit_test(scratch_is_that_of_all),
      cmocka_unit_test(steps_after_a_thaw_allocate_nothing),
      cmocka_unit_test(reserved_memory_serves_it_again),
      cmocka_unit_test(a_thaw_without_room_leaves_it_frozen),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
