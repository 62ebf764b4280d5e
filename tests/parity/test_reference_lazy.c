/* The lazy tracker against the published projector: given the same similarities, it refreshes at the same
 * steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* cmocka wants the four headers above first. */
#include <cmocka.h>

#include "qgalore/optim.h"
#include "support/reference/parity_reference.h"

/* The settings of the reference: threshold 0.4 over five similarities, no cap. */
static qg_optim_options reference_options(int64_t update_gap)
{
  qg_optim_options options = {
      .update_gap = update_gap, .lazy = true, .similarity_threshold = 0.4, .similarity_window = 5};
  return options;
}

/* A published refresh: [step, similarity, interval afterwards]. */
static void follow_refresh(qg_tracker *tracker, const qg_optim_options *options, const json_t *refresh,
                           int64_t step)
{
  assert_int_equal(step, json_integer_value(json_array_get(refresh, 0)));
  qg_tracker_refreshed(tracker, step, json_real_value(json_array_get(refresh, 1)), options);
  assert_int_equal(tracker->interval, json_integer_value(json_array_get(refresh, 2)));
}

static void the_tracker_refreshes_at_the_published_steps(void **state)
{
  const json_t *runs = json_object_get(*state, "lazy");
  assert_true(json_array_size(runs) >= 3);
  for (size_t k = 0; k < json_array_size(runs); k++) {
    const json_t *run = json_array_get(runs, k), *refreshes = json_object_get(run, "refreshes");
    qg_optim_options options = reference_options(json_integer_value(json_object_get(run, "update_gap")));
    int64_t steps = json_integer_value(json_object_get(run, "steps"));
    qg_tracker tracker;
    qg_tracker_init(&tracker, options.update_gap);
    size_t done = 0;
    for (int64_t step = 0; step < steps; step++)
      if (qg_tracker_due(&tracker, step))
        follow_refresh(&tracker, &options, json_array_get(refreshes, done++), step);
    assert_int_equal(done, json_array_size(refreshes));
  }
}

static int load(void **state)
{
  *state = parity_load(__FILE__);
  return 0;
}

static int unload(void **state)
{
  json_decref(*state);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_tracker_refreshes_at_the_published_steps)};
  return cmocka_run_group_tests(tests, load, unload);
}
