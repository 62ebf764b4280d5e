/* What a watchdog reports, and that it reports nothing while it is fed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/llama/roles.h"
#include "train/parameter_trace.h"
#include "train/watchdog.h"

static const qg_model_shape shape = {.hidden_size = 64,
                                     .intermediate_size = 96,
                                     .num_layers = 4,
                                     .num_heads = 2,
                                     .num_kv_heads = 2,
                                     .vocab_size = 32};

static void check_place(const qg_timers *timers, const char *expected)
{
  char text[160];
  qg_watchdog_describe(timers, &shape, text, sizeof text);
  assert_string_equal(text, expected);
}

static void a_place_is_phase_micro_batch_and_parameter(void **state)
{
  (void)state;
  qg_timers timers = {.micro_batch = 2, .parameter = qg_llama_param(&shape, QG_ROLE_DOWN, 3)};
  check_place(&timers, "between phases");
  qg_timer_start(&timers, QG_PHASE_BACKWARD);
  check_place(&timers, "in backward, micro-batch 2, at model.layers.3.mlp.down_proj.weight");
  qg_timer_start(&timers, QG_PHASE_WAIT);
  check_place(&timers, "in wait, micro-batch 2, after model.layers.3.mlp.down_proj.weight");
  qg_timer_stop(&timers, QG_PHASE_WAIT);
  qg_timer_stop(&timers, QG_PHASE_BACKWARD);
  qg_timer_start(&timers, QG_PHASE_CHECKPOINT);
  check_place(&timers, "in checkpoint");
}

/* What remembers what came through a reader or a port. */
typedef struct {
  int calls, param;
} listener;

static qg_status hear(void *impl, int param)
{
  listener *l = impl;
  l->calls++;
  l->param = param;
  return QG_OK;
}
static qg_status hear_read(void *impl, int param, qg_view *out)
{
  return (void)out, hear(impl, param);
}
static qg_status hear_read_rows(void *impl, int param, int64_t first, int64_t count, qg_view *out)
{
  return (void)first, (void)count, (void)out, hear(impl, param);
}
static qg_status hear_add_matrix(void *impl, int param, qg_view dy, qg_view x)
{
  return (void)dy, (void)x, hear(impl, param);
}
static qg_status hear_add_rows(void *impl, int param, const int32_t *ids, qg_view dx)
{
  return (void)ids, (void)dx, hear(impl, param);
}
static qg_status hear_vector(void *impl, int param, float **out)
{
  return (void)out, hear(impl, param);
}

static void what_the_model_asks_for_is_noted_and_passed_on(void **state)
{
  (void)state;
  listener l = {0};
  qg_timers timers = {0};
  qg_parameter_trace trace;
  const qg_weight_reader weights = {.impl = &l, .read = hear_read, .read_rows = hear_read_rows};
  const qg_gradient_port gradients = {&l, hear_add_matrix, hear_add_rows, hear_vector, hear};
  const qg_weight_reader *reader = &trace.weights;
  const qg_gradient_port *port = &trace.gradients;
  qg_parameter_trace_make(&weights, &gradients, &timers, &trace);
  assert_null(reader->prefetch);
  for (int call = 0; call < 6; call++) {
    int param = 7 + call;
    qg_view view = {0};
    float *vector = NULL;
    qg_status results[] = {call == 0 ? reader->read(reader->impl, param, &view) : QG_OK,
                           call == 1 ? reader->read_rows(reader->impl, param, 0, 1, &view) : QG_OK,
                           call == 2 ? port->add_matrix(port->impl, param, view, view) : QG_OK,
                           call == 3 ? port->add_rows(port->impl, param, NULL, view) : QG_OK,
                           call == 4 ? port->vector(port->impl, param, &vector) : QG_OK,
                           call == 5 ? port->complete(port->impl, param) : QG_OK};
    for (int i = 0; i < 6; i++) assert_int_equal(results[i], QG_OK);
    assert_int_equal(l.calls, call + 1);
    assert_int_equal(l.param, param);
    assert_int_equal(timers.parameter, param);
  }
}

static void a_watchdog_that_is_fed_or_off_lets_the_run_go_on(void **state)
{
  (void)state;
  qg_timers timers = {0};
  qg_grid grid = {0};
  qg_watchdog *watchdog, *off;
  qg_watchdog_request request = {.limit = 0.0, .timers = &timers, .shape = &shape, .grid = &grid};
  assert_int_equal(qg_watchdog_start(&request, &off), QG_OK);
  assert_null(off);
  qg_watchdog_feed(off, 1);
  qg_watchdog_stop(off);
  request.limit = 3600.0;
  assert_int_equal(qg_watchdog_start(&request, &watchdog), QG_OK);
  for (int step = 0; step < 1000; step++) {
    timers.parameter = step % 4;
    qg_timer_start(&timers, QG_PHASE_FORWARD);
    qg_timer_stop(&timers, QG_PHASE_FORWARD);
    qg_watchdog_feed(watchdog, step);
  }
  qg_watchdog_stop(watchdog);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_place_is_phase_micro_batch_and_parameter),
      cmocka_unit_test(what_the_model_asks_for_is_noted_and_passed_on),
      cmocka_unit_test(a_watchdog_that_is_fed_or_off_lets_the_run_go_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
