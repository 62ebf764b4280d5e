/* When a run stops, and who asked for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>

#include "qgalore/base.h"
#include "train/stop.h"

static const qg_stop_watch silent = {.root = true, .stop_file = "/nonexistent/STOP"};

static void the_walltime_leaves_room_for_a_save_two_steps_and_half_a_minute(void **state)
{
  (void)state;
  const qg_stop_watch watch = {
      .started = 1000.0, .walltime = 500.0, .longest_step = 10.0, .longest_save = 20.0};
  /* 1.5 x 20 + 2 x 10 + 30 = 80 s before the end at 1500. */
  assert_false(qg_stop_walltime_due(&watch, 1419.0));
  assert_true(qg_stop_walltime_due(&watch, 1421.0));
}

static void without_a_walltime_a_run_is_never_late(void **state)
{
  (void)state;
  assert_false(qg_stop_walltime_due(&silent, 1e12));
}

static void the_strongest_request_wins_on_all_ranks(void **state)
{
  (void)state;
  double save = ldexp(1.0, 0), stop = ldexp(1.0, 16), file = ldexp(1.0, 32), walltime = ldexp(1.0, 48);
  assert_int_equal(qg_stop_decide(0.0), QG_REQUEST_NONE);
  assert_int_equal(qg_stop_decide(65535 * save), QG_REQUEST_SAVE);
  assert_int_equal(qg_stop_decide(65535 * save + stop), QG_REQUEST_SIGNAL);
  assert_int_equal(qg_stop_decide(65535 * (save + stop)), QG_REQUEST_SIGNAL);
  assert_int_equal(qg_stop_decide(65535 * stop + file), QG_REQUEST_STOP_FILE);
  assert_int_equal(qg_stop_decide(65535 * (save + stop) + walltime), QG_REQUEST_WALLTIME);
}

static void rank_0_looks_at_the_clock(void **state)
{
  (void)state;
  qg_stop_watch watch = silent;
  watch.started = qg_now();
  watch.walltime = 1.0;
  assert_int_equal(qg_stop_decide(qg_stop_cast_vote(&watch)), QG_REQUEST_WALLTIME);
  watch.root = false;
  assert_int_equal(qg_stop_decide(qg_stop_cast_vote(&watch)), QG_REQUEST_NONE);
}

static void rank_0_asks_for_a_save_by_time(void **state)
{
  (void)state;
  qg_stop_watch watch = silent;
  watch.save_every = 100.0;
  watch.last_save = qg_now() - 50.0;
  assert_int_equal(qg_stop_decide(qg_stop_cast_vote(&watch)), QG_REQUEST_NONE);
  watch.last_save = qg_now() - 150.0;
  assert_int_equal(qg_stop_decide(qg_stop_cast_vote(&watch)), QG_REQUEST_SAVE);
  watch.bad_step = true;
  assert_int_equal(qg_stop_decide(qg_stop_cast_vote(&watch)), QG_REQUEST_NONE);
  watch.bad_step = false;
  watch.root = false;
  assert_int_equal(qg_stop_decide(qg_stop_cast_vote(&watch)), QG_REQUEST_NONE);
}

/* One test, in this order: a request to stop stays. */
static void usr1_asks_once_and_usr2_for_good(void **state)
{
  (void)state;
  qg_stop_catch_signals();
  assert_int_equal(qg_stop_decide(qg_stop_cast_vote(&silent)), QG_REQUEST_NONE);
  raise(SIGUSR1);
  assert_int_equal(qg_stop_decide(qg_stop_cast_vote(&silent)), QG_REQUEST_SAVE);
  assert_int_equal(qg_stop_decide(qg_stop_cast_vote(&silent)), QG_REQUEST_NONE);
  raise(SIGUSR2);
  assert_int_equal(qg_stop_decide(qg_stop_cast_vote(&silent)), QG_REQUEST_SIGNAL);
  /* The TERM that a batch system sends after USR2 is the first. */
  raise(SIGTERM);
  assert_int_equal(qg_stop_decide(qg_stop_cast_vote(&silent)), QG_REQUEST_SIGNAL);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_walltime_leaves_room_for_a_save_two_steps_and_half_a_minute),
      cmocka_unit_test(without_a_walltime_a_run_is_never_late),
      cmocka_unit_test(the_strongest_request_wins_on_all_ranks),
      cmocka_unit_test(rank_0_looks_at_the_clock),
      cmocka_unit_test(rank_0_asks_for_a_save_by_time),
      cmocka_unit_test(usr1_asks_once_and_usr2_for_good),
  };
  return cmocka_run_group_tests_name("stop", tests, NULL, NULL);
}
