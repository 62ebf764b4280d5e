/* The lazy tracker and the learning-rate schedule: when a subspace is due, when its interval doubles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "qgalore/optim.h"
#include "support/fixtures/tolerances.h"

static qg_optim_options lazy_options(void)
{
  qg_optim_options options = {
      .update_gap = 200, .lazy = true, .similarity_threshold = 0.4, .similarity_window = 5};
  return options;
}

/* Refreshes at every due step up to `steps` with one similarity. */
static qg_tracker run(const qg_optim_options *options, double similarity, int64_t steps)
{
  qg_tracker tracker;
  qg_tracker_init(&tracker, options->update_gap);
  for (int64_t step = 0; step <= steps; step++)
    if (qg_tracker_due(&tracker, step)) qg_tracker_refreshed(&tracker, step, similarity, options);
  return tracker;
}

static void a_matrix_without_projector_is_due_at_any_step(void **state)
{
  (void)state;
  qg_tracker tracker;
  qg_tracker_init(&tracker, 200);
  assert_true(qg_tracker_due(&tracker, 0));
  assert_true(qg_tracker_due(&tracker, 137));
}

static void afterwards_it_is_due_at_multiples_of_its_interval(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  qg_tracker tracker = run(&options, 0.0, 0);
  assert_false(qg_tracker_due(&tracker, 1));
  assert_false(qg_tracker_due(&tracker, 199));
  assert_true(qg_tracker_due(&tracker, 200));
  assert_true(qg_tracker_due(&tracker, 400));
}

static void the_first_refresh_compares_with_nothing(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  qg_tracker tracker = run(&options, 1.0, 0);
  assert_int_equal(tracker.count, 0);
  assert_int_equal(tracker.refreshes, 1);
}

/* Steps 0, 200, ..., 1000: the fifth similarity fills the queue. */
static void a_full_queue_of_similar_subspaces_doubles_the_interval(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  assert_int_equal(run(&options, 0.5, 999).interval, 200);
  assert_int_equal(run(&options, 0.5, 1000).interval, 400);
}

/* The queue is not cleared: at 1200 (a multiple of 400) the mean is still high, 800; at 1600, 1600; at 3200,
 * 3200. */
static void a_steady_subspace_doubles_at_every_refresh(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  assert_int_equal(run(&options, 0.5, 1199).interval, 400);
  assert_int_equal(run(&options, 0.5, 1200).interval, 800);
  assert_int_equal(run(&options, 0.5, 1600).interval, 1600);
  assert_int_equal(run(&options, 0.5, 3200).interval, 3200);
}

static void the_threshold_itself_counts_as_similar(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  options.similarity_threshold = 0.5;
  assert_int_equal(run(&options, 0.5, 1000).interval, 400);
  assert_int_equal(run(&options, 0.4999, 100000).interval, 200);
}

/* 0.1 0.1 0.1 0.9 0.9 has mean 0.42; one 0.1 more in front of it falls out of the queue. */
static void the_mean_is_over_the_last_window_only(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  const double known[] = {0.0, 0.1, 0.1, 0.1, 0.1, 0.9, 0.9};
  qg_tracker tracker;
  qg_tracker_init(&tracker, 200);
  for (int i = 0; i < 6; i++) qg_tracker_refreshed(&tracker, 200 * i, known[i], &options);
  assert_int_equal(tracker.interval, 200);
  qg_tracker_refreshed(&tracker, 1200, known[6], &options);
  assert_int_equal(tracker.interval, 400);
  assert_int_equal(tracker.count, 5);
  assert_float_equal(tracker.queue[0], 0.1f, 0);
  assert_float_equal(tracker.queue[4], 0.9f, 0);
}

static void a_cap_stops_the_doubling(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  options.max_update_gap = 1000;
  assert_int_equal(run(&options, 0.9, 100000).interval, 1000);
  options.max_update_gap = 100; /* below the start: never shrinks */
  assert_int_equal(run(&options, 0.9, 100000).interval, 200);
}

static void an_eager_tracker_never_changes(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  options.lazy = false;
  qg_tracker tracker = run(&options, 1.0, 4000);
  assert_int_equal(tracker.interval, 200);
  assert_int_equal(tracker.refreshes, 21);
  assert_int_equal(tracker.saved, 0);
}

/* Steps 0 200 400 600 800 1000 1200 1600 3200 against every 200 up to 3200. */
static void saved_and_done_refreshes_add_up_to_the_eager_number(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  qg_tracker tracker = run(&options, 0.5, 3200);
  assert_int_equal(tracker.refreshes, 9);
  assert_int_equal(tracker.refreshes + tracker.saved, 17);
}

static void a_window_shortened_after_a_restart_keeps_the_newest(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  qg_tracker tracker = run(&options, 0.1, 1000);
  options.similarity_window = 2;
  qg_tracker_refreshed(&tracker, 1200, 0.9, &options);
  assert_int_equal(tracker.count, 2);
  assert_float_equal(tracker.queue[1], 0.9f, 0);
  assert_int_equal(tracker.interval, 400);
}

static qg_tracker run_staggered(const qg_optim_options *options, int64_t phase, double similarity,
                                int64_t steps)
{
  qg_tracker tracker;
  qg_tracker_init(&tracker, options->update_gap);
  tracker.phase = phase;
  for (int64_t step = 0; step <= steps; step++)
    if (qg_tracker_due(&tracker, step)) qg_tracker_refreshed(&tracker, step, similarity, options);
  return tracker;
}

/* 0, 237, 437, 637, ...: the phase once, then the interval from refresh to refresh. */
static void a_staggered_matrix_waits_its_phase_once(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  assert_int_equal(run_staggered(&options, 37, 0.0, 236).refreshes, 1);
  qg_tracker tracker = run_staggered(&options, 37, 0.0, 237);
  assert_int_equal(tracker.refreshes, 2);
  assert_int_equal(qg_tracker_next(&tracker), 437);
  tracker = run_staggered(&options, 37, 0.0, 2000);
  assert_int_equal(tracker.last_refresh, 1837);
  assert_int_equal(tracker.saved, 0); /* the delay is no saving */
}

/* 0 237 437 637 837 1037 fills the queue: doubled, 1437; again, 2237. */
static void a_staggered_interval_doubles_as_specified(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  assert_int_equal(run_staggered(&options, 37, 0.5, 1036).interval, 200);
  assert_int_equal(run_staggered(&options, 37, 0.5, 1037).interval, 400);
  assert_int_equal(run_staggered(&options, 37, 0.5, 1436).interval, 400);
  assert_int_equal(run_staggered(&options, 37, 0.5, 1437).interval, 800);
  assert_int_equal(run_staggered(&options, 37, 0.5, 2237).refreshes, 8);
}

/* 56 matrices of a LLaMA-60M over 200 steps: no step gets more than two, and no fifth of them more than a
 * third more or less than its share. */
static void phases_spread_the_matrices_evenly(void **state)
{
  (void)state;
  enum { MATRICES = 56, GAP = 200, PARTS = 5 };
  int per_step[GAP] = {0}, per_part[PARTS] = {0};
  for (int i = 0; i < MATRICES; i++) {
    int64_t phase = qg_tracker_phase(i, GAP);
    assert_true(phase >= 0 && phase < GAP);
    assert_true(++per_step[phase] <= 2);
    per_part[phase * PARTS / GAP]++;
  }
  for (int i = 0; i < PARTS; i++) assert_in_range(per_part[i], 8, 15);
  assert_int_equal(qg_tracker_phase(123, 1), 0);
}

/* Similar five times, then not: back to where it began, no further. */
static void dissimilar_subspaces_halve_a_doubled_interval(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  options.shrink_threshold = 0.2;
  qg_tracker tracker = run(&options, 0.5, 1600);
  assert_int_equal(tracker.interval, 1600);
  /* Means 0.4, which doubles, 0.3, 0.2, 0.1 and 0, which halve. */
  for (int i = 1; i <= 5; i++) qg_tracker_refreshed(&tracker, 1600 * (i + 1), 0.0, &options);
  assert_int_equal(tracker.interval, 800);
  for (int i = 6; i <= 20; i++) qg_tracker_refreshed(&tracker, 1600 * (i + 1), 0.0, &options);
  assert_int_equal(tracker.interval, 200);
}

static void a_refresh_that_did_not_happen_stays_due(void **state)
{
  (void)state;
  qg_optim_options options = lazy_options();
  qg_tracker tracker = run(&options, 0.0, 0);
  assert_true(qg_tracker_due(&tracker, 200));
  assert_true(qg_tracker_due(&tracker, 201));
}

static void assert_rate(double rate, double want)
{
  assert_true(QG_CLOSE(rate / want, 1.0, QG_TOL_F64_FORMULA));
}

static const qg_schedule cosine = {.lr = 0.01, .warmup = 10, .steps = 100, .min_ratio = 0.1};

static qg_schedule of_kind(qg_schedule_kind kind)
{
  qg_schedule s = cosine;
  s.kind = kind;
  s.decay_share = 0.2;
  return s;
}

/* The first step changes the weights, and the last of the warm-up has the full rate. */
static void warm_up_is_linear_and_begins_above_zero(void **state)
{
  (void)state;
  for (int kind = QG_SCHEDULE_COSINE; kind <= QG_SCHEDULE_WSD; kind++) {
    qg_schedule s = of_kind((qg_schedule_kind)kind);
    for (int step = 0; step < 10; step++) assert_rate(qg_learning_rate(&s, step), 0.001 * (step + 1));
    assert_rate(qg_learning_rate(&s, 10), 0.01);
  }
}

static void the_published_warm_up_begins_at_zero(void **state)
{
  (void)state;
  qg_schedule s = cosine;
  s.warmup_from_zero = true;
  assert_true(qg_learning_rate(&s, 0) == 0.0);
  assert_rate(qg_learning_rate(&s, 5), 0.005);
  assert_rate(qg_learning_rate(&s, 10), 0.01);
}

static void cosine_falls_to_the_smallest_rate(void **state)
{
  (void)state;
  assert_rate(qg_learning_rate(&cosine, 55), 0.01 * (0.1 + 0.9 * 0.5));
  assert_rate(qg_learning_rate(&cosine, 40), 0.01 * (0.1 + 0.9 * 0.75));
  assert_rate(qg_learning_rate(&cosine, 100), 0.001);
  assert_rate(qg_learning_rate(&cosine, 1000), 0.001);
}

static void linear_falls_to_the_smallest_rate(void **state)
{
  (void)state;
  qg_schedule s = of_kind(QG_SCHEDULE_LINEAR);
  assert_rate(qg_learning_rate(&s, 55), 0.01 * (0.1 + 0.9 * 0.5));
  assert_rate(qg_learning_rate(&s, 91), 0.01 * (0.1 + 0.9 * 0.1));
  assert_rate(qg_learning_rate(&s, 100), 0.001);
}

static void a_constant_rate_knows_no_end(void **state)
{
  (void)state;
  qg_schedule s = of_kind(QG_SCHEDULE_CONSTANT);
  for (int64_t step = 10; step <= 100000; step *= 10) assert_rate(qg_learning_rate(&s, step), 0.01);
}

/* Until step 80 the rate does not know how long the run will be. */
static void wsd_falls_over_its_last_share_only(void **state)
{
  (void)state;
  qg_schedule s = of_kind(QG_SCHEDULE_WSD), longer = s;
  longer.steps = 1000;
  assert_int_equal(qg_schedule_decay_begins(&s), 80);
  for (int64_t step = 0; step <= 80; step++)
    assert_true(qg_learning_rate(&s, step) == qg_learning_rate(&longer, step));
  assert_rate(qg_learning_rate(&s, 80), 0.01);
  assert_rate(qg_learning_rate(&s, 85), 0.01 * (0.1 + 0.9 * 0.5));
  assert_rate(qg_learning_rate(&s, 100), 0.001);
}

/* A share of 0 has no decay, a share of 1 decays from the end of the warm-up. */
static void wsd_takes_every_share(void **state)
{
  (void)state;
  qg_schedule s = of_kind(QG_SCHEDULE_WSD);
  s.decay_share = 0.0;
  assert_rate(qg_learning_rate(&s, 99), 0.01);
  s.decay_share = 1.0;
  assert_int_equal(qg_schedule_decay_begins(&s), 10);
  assert_rate(qg_learning_rate(&s, 10), 0.01);
  assert_true(qg_learning_rate(&s, 11) < 0.01);
}

static void no_warm_up_starts_at_the_top(void **state)
{
  (void)state;
  qg_schedule s = cosine;
  s.warmup = 0;
  assert_rate(qg_learning_rate(&s, 0), 0.01);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_matrix_without_projector_is_due_at_any_step),
      cmocka_unit_test(afterwards_it_is_due_at_multiples_of_its_interval),
      cmocka_unit_test(the_first_refresh_compares_with_nothing),
      cmocka_unit_test(a_full_queue_of_similar_subspaces_doubles_the_interval),
      cmocka_unit_test(a_steady_subspace_doubles_at_every_refresh),
      cmocka_unit_test(the_threshold_itself_counts_as_similar),
      cmocka_unit_test(the_mean_is_over_the_last_window_only),
      cmocka_unit_test(a_cap_stops_the_doubling),
      cmocka_unit_test(an_eager_tracker_never_changes),
      cmocka_unit_test(saved_and_done_refreshes_add_up_to_the_eager_number),
      cmocka_unit_test(a_window_shortened_after_a_restart_keeps_the_newest),
      cmocka_unit_test(a_staggered_matrix_waits_its_phase_once),
      cmocka_unit_test(a_staggered_interval_doubles_as_specified),
      cmocka_unit_test(phases_spread_the_matrices_evenly),
      cmocka_unit_test(dissimilar_subspaces_halve_a_doubled_interval),
      cmocka_unit_test(a_refresh_that_did_not_happen_stays_due),
      cmocka_unit_test(warm_up_is_linear_and_begins_above_zero),
      cmocka_unit_test(the_published_warm_up_begins_at_zero),
      cmocka_unit_test(cosine_falls_to_the_smallest_rate),
      cmocka_unit_test(linear_falls_to_the_smallest_rate),
      cmocka_unit_test(a_constant_rate_knows_no_end),
      cmocka_unit_test(wsd_falls_over_its_last_share_only),
      cmocka_unit_test(wsd_takes_every_share),
      cmocka_unit_test(no_warm_up_starts_at_the_top),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
