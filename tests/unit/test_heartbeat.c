/* A run that is silent for long says where it is; one that is not, says nothing more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qgalore/base.h"
#include "train/heartbeat.h"

static const qg_model_shape shape = {.hidden_size = 8,
                                     .intermediate_size = 16,
                                     .num_layers = 2,
                                     .num_heads = 2,
                                     .num_kv_heads = 2,
                                     .vocab_size = 32};
static char *text;
static size_t bytes;

/* What a heartbeat of this interval says within a tenth of a second. */
static void listen(double interval, const qg_timers *timers, int64_t step)
{
  qg_heartbeat *heartbeat;
  free(text);
  FILE *out = open_memstream(&text, &bytes);
  qg_log log = qg_log_make(out, true);
  assert_int_equal(qg_heartbeat_start(&log, interval, timers, &shape, &heartbeat), QG_OK);
  if (step >= 0) qg_heartbeat_feed(heartbeat, step);
  usleep(100000);
  qg_heartbeat_stop(heartbeat);
  fclose(out);
}

static void a_long_step_is_told_with_its_place(void **state)
{
  (void)state;
  qg_timers timers = {0};
  qg_timer_start(&timers, QG_PHASE_FORWARD);
  timers.micro_batch = 3;
  listen(0.01, &timers, 6);
  assert_non_null(strstr(text, "7 is under way since"));
  assert_non_null(strstr(text, "in forward, micro-batch 3"));
  qg_timer_stop(&timers, QG_PHASE_FORWARD);
}

static void a_long_start_is_told(void **state)
{
  (void)state;
  qg_timers timers = {0};
  listen(0.01, &timers, -1);
  assert_non_null(strstr(text, "starting: weights are made or read, since"));
}

static void what_is_quick_is_not_told(void **state)
{
  (void)state;
  qg_timers timers = {0};
  listen(60.0, &timers, 6);
  assert_string_equal(text, "");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_long_step_is_told_with_its_place),
      cmocka_unit_test(a_long_start_is_told),
      cmocka_unit_test(what_is_quick_is_not_told),
  };
  int failures = cmocka_run_group_tests(tests, NULL, NULL);
  free(text);
  return failures;
}
