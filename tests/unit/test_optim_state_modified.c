/* Whether a step can still be skipped without a trace, and the state from which a run begins again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_gradients.h"

enum { TOKENS = 40, GAP = 4 };

static void open_small(fixture *f, bool fused, int64_t micro_batches)
{
  qg_optim_options options = options_of(QG_METHOD_QGALORE);
  options.fused = fused;
  options.update_gap = GAP;
  options.rotate_moments = true;
  small_open(f, options, TOKENS, micro_batches);
}

/* Norms are where the host hears of what the device decided. */
static bool is_modified(const fixture *f)
{
  double *squares = calloc((size_t)param_count(f), sizeof *squares);
  assert_non_null(squares);
  assert_ok(qg_optim_norms(f->optim, squares));
  free(squares);
  return qg_optim_state_modified(f->optim);
}

/* What the flag says of the gradients of a step, after one that has refreshed everything; and that it is
 * true. */
static bool modified_by_gradients(bool fused, int64_t micro_batches, int64_t step)
{
  fixture f;
  open_small(&f, fused, micro_batches);
  noise_step(&f, 0, 0.01);
  uint32_t before = state_digest(&f);
  noise_gradients(&f, step);
  bool state_modified = is_modified(&f);
  assert_int_equal(state_digest(&f) != before, state_modified);
  fixture_close(&f);
  return state_modified;
}

static void accumulated_gradients_leave_no_trace_between_refreshes(void **state)
{
  (void)state;
  assert_false(modified_by_gradients(false, 1, 1));
  assert_false(modified_by_gradients(false, 2, 1));
}

static void a_refresh_leaves_a_trace(void **state)
{
  (void)state;
  assert_true(modified_by_gradients(false, 1, GAP));
  assert_true(modified_by_gradients(false, 2, GAP));
}

static void a_fused_update_leaves_a_trace(void **state)
{
  (void)state;
  assert_true(modified_by_gradients(true, 1, 1));
}

/* Every matrix is due, and no gradient can give a subspace: all keep their old one. */
static void refreshes_that_fail_leave_none(void **state)
{
  (void)state;
  fixture f;
  open_small(&f, false, 1);
  noise_step(&f, 0, 0.01);
  uint32_t before = state_digest(&f);
  assert_ok(qg_optim_begin(f.optim, GAP));
  for (int id = 0; id < param_count(&f); id++) {
    const qg_param *p = param_at(&f, id);
    if (!is_projected(&f, p)) continue;
    float *dy = pair_half(&f, p, GAP, 0, 0), *x = pair_half(&f, p, GAP, 0, 1);
    dy[0] = NAN;
    assert_ok(send_matrix(&f, p, f.tokens, dy, x));
    free(dy);
    free(x);
  }
  assert_ok(qg_optim_finish_gradients(f.optim));
  assert_true(qg_optim_get_stats(f.optim).failed > 0);
  assert_false(is_modified(&f));
  assert_int_equal(state_digest(&f), before);
  fixture_close(&f);
}

static void a_discarded_step_leaves_none(void **state)
{
  (void)state;
  setenv("QGALORE_FAULT", "gradient@1,4", 1);
  assert_false(modified_by_gradients(true, 1, 1));
  assert_false(modified_by_gradients(false, 1, GAP));
  unsetenv("QGALORE_FAULT");
}

/* Refreshes that see the whole batch wait for it, and then for a look at every gradient. */
static void refreshes_that_wait_leave_none_beside_a_bad_gradient(void **state)
{
  (void)state;
  setenv("QGALORE_FAULT", "model.layers.0.self_attn.q_proj.weight@4", 1);
  assert_false(modified_by_gradients(false, 2, GAP));
  assert_true(modified_by_gradients(false, 1, GAP)); /* these do not wait */
  unsetenv("QGALORE_FAULT");
}

static void every_step_begins_untouched(void **state)
{
  (void)state;
  fixture f;
  open_small(&f, true, 1);
  noise_step(&f, 0, 0.01);
  assert_true(is_modified(&f));
  assert_ok(qg_optim_begin(f.optim, 1));
  assert_false(is_modified(&f));
  fixture_close(&f);
}

/* The same steps again from fresh weights: nothing of the ones before is left, in the state or beside it. */
static void a_run_can_begin_again(void **state)
{
  (void)state;
  fixture f;
  open_small(&f, false, 1);
  uint32_t fresh = state_digest(&f), after[2];
  for (int round = 0; round < 2; round++) {
    for (int64_t step = 0; step <= GAP; step++) noise_step(&f, step, 0.01);
    after[round] = state_digest(&f);
    trained_start(&f.trained);
    assert_int_equal(state_digest(&f), fresh);
  }
  assert_int_not_equal(after[0], fresh);
  assert_int_equal(after[0], after[1]);
  fixture_close(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(accumulated_gradients_leave_no_trace_between_refreshes),
      cmocka_unit_test(a_refresh_leaves_a_trace),
      cmocka_unit_test(a_fused_update_leaves_a_trace),
      cmocka_unit_test(refreshes_that_fail_leave_none),
      cmocka_unit_test(a_discarded_step_leaves_none),
      cmocka_unit_test(refreshes_that_wait_leave_none_beside_a_bad_gradient),
      cmocka_unit_test(every_step_begins_untouched),
      cmocka_unit_test(a_run_can_begin_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
