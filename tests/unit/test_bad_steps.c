/* What counts as a loss spike, and the list of steps that are excluded when a run repeats its steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "train/bad_steps.h"

static qg_loss_window window_of(int count, double loss)
{
  qg_loss_window window = {0};
  for (int i = 0; i < count; i++) qg_loss_window_add(&window, loss);
  return window;
}

static void a_spike_is_above_the_factor_times_the_mean(void **state)
{
  (void)state;
  qg_loss_window window = window_of(QG_LOSS_WINDOW, 4.0);
  assert_false(qg_loss_is_spike(&window, 1.5, 6.0));
  assert_true(qg_loss_is_spike(&window, 1.5, 6.01));
  assert_false(qg_loss_is_spike(&window, 0.0, 1e9));
  assert_false(qg_loss_is_spike(&window, 1.5, NAN));
}

static void the_mean_is_of_the_last_finite_losses(void **state)
{
  (void)state;
  qg_loss_window window = window_of(5, 1000.0);
  for (int i = 0; i < QG_LOSS_WINDOW; i++) {
    qg_loss_window_add(&window, NAN);
    qg_loss_window_add(&window, 2.0);
  }
  assert_int_equal(window.count, QG_LOSS_WINDOW);
  assert_true(qg_loss_is_spike(&window, 1.5, 3.01));
}

static void a_few_losses_make_no_mean(void **state)
{
  (void)state;
  qg_loss_window few = window_of(QG_LOSS_WINDOW_MIN - 1, 1.0), enough = window_of(QG_LOSS_WINDOW_MIN, 1.0);
  assert_false(qg_loss_is_spike(&few, 1.5, 100.0));
  assert_true(qg_loss_is_spike(&enough, 1.5, 100.0));
}

static qg_excluded_steps list_of(int count, const int64_t *steps)
{
  qg_excluded_steps list = {0};
  for (int i = 0; i < count; i++)
    qg_excluded_steps_add(&list, &(qg_excluded_step){.step = steps[i], .cursor = 10 * steps[i]});
  return list;
}

static void a_step_is_known_by_number_and_data(void **state)
{
  (void)state;
  qg_excluded_steps list = list_of(2, (int64_t[]){7, 9});
  assert_ptr_equal(qg_excluded_steps_find(&list, 9, 90), &list.steps[1]);
  assert_null(qg_excluded_steps_find(&list, 9, 91));
  assert_null(qg_excluded_steps_find(&list, 8, 80));
}

static void a_checkpoint_drops_the_steps_before_it(void **state)
{
  (void)state;
  qg_excluded_steps list = list_of(3, (int64_t[]){12, 7, 9});
  qg_excluded_steps_forget(&list, 9); /* steps 0 to 8 are done */
  assert_int_equal(list.count, 2);
  assert_non_null(qg_excluded_steps_find(&list, 12, 120));
  assert_non_null(qg_excluded_steps_find(&list, 9, 90));
  qg_excluded_steps_forget(&list, 13);
  assert_int_equal(list.count, 0);
}

static void the_attempt_is_remembered(void **state)
{
  (void)state;
  qg_excluded_steps list = {0};
  qg_excluded_step step = {.step = 3, .cursor = 4, .seconds = 0.5, .result = {.loss = 2.0, .tokens = 64}};
  qg_excluded_steps_add(&list, &step);
  const qg_excluded_step *found = qg_excluded_steps_find(&list, 3, 4);
  assert_true(found->seconds == 0.5 && found->result.loss == 2.0);
  assert_int_equal(found->result.tokens, 64);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_spike_is_above_the_factor_times_the_mean),
      cmocka_unit_test(the_mean_is_of_the_last_finite_losses),
      cmocka_unit_test(a_few_losses_make_no_mean),
      cmocka_unit_test(a_step_is_known_by_number_and_data),
      cmocka_unit_test(a_checkpoint_drops_the_steps_before_it),
      cmocka_unit_test(the_attempt_is_remembered),
  };
  return cmocka_run_group_tests_name("bad steps", tests, NULL, NULL);
}
