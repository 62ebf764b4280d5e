/* What is promised: a pass over the layers says before each product which matrix it will read next, in the
 * order in which it then reads them, so that only the first one of a pass is unpacked unannounced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "support/fixtures/one_stage.h"

enum { LAYERS = 3, TOKENS = 8, FORWARD = 7 * LAYERS, REFILLED = 6 * LAYERS, MOST = 2 * FORWARD + REFILLED };

static const qg_model_shape shape = ONE_STAGE_SHAPE(LAYERS);

/* A reader that remembers which matrices of layers it gave out, and which of them it was told of before. */
typedef struct {
  dense_port dense;
  int reads[MOST],
      announced[MOST]; /* announced[i]: what the reader was told to expect as reads[i]; -1: nothing */
  int count, expected;
} recorder;

static qg_status recorded_read(void *impl, int param, qg_view *out)
{
  recorder *r = impl;
  if (qg_model_param(&shape, param).kind == QG_PARAM_MATRIX) {
    assert_in_range(r->count, 0, MOST - 1);
    r->reads[r->count] = param;
    r->announced[r->count++] = r->expected;
    r->expected = -1;
  }
  return dense_port_read(&r->dense, param, out);
}

static qg_status recorded_prefetch(void *impl, int param)
{
  recorder *r = impl;
  r->expected = param;
  return QG_OK;
}

static void run_passes(recorder *r, bool checkpointing)
{
  qg_partition middle = {.num_layers = LAYERS};
  qg_stage_options options = {.micro_batch = 1,
                              .sequence_length = TOKENS,
                              .logit_chunk_tokens = TOKENS,
                              .checkpointing = checkpointing,
                              .slots = 1};
  one_stage s;
  qg_view view;
  *r = (recorder){.expected = -1};
  qg_weight_reader weights = {.impl = r, .read = recorded_read, .prefetch = recorded_prefetch};
  one_stage_open(&s, &shape, &middle, &options, &r->dense);
  qg_gradient_port gradients = dense_port_gradients(&r->dense);
  assert_ok(qg_stage_forward(s.stage, &weights, 0, NULL, &view));
  assert_int_equal(r->count, FORWARD);
  assert_ok(qg_stage_backward(s.stage, &weights, &gradients, 0, NULL, view, &view));
  one_stage_close(&s);
}

/* Each pass begins with a matrix that nobody announced. */
static void expect_all_announced(const recorder *r, int reads)
{
  assert_int_equal(r->count, reads);
  assert_int_equal(r->expected, -1);
  for (int i = 0; i < reads; i++)
    assert_int_equal(r->announced[i], i == 0 || i == FORWARD ? -1 : r->reads[i]);
}

static void every_matrix_is_announced_before_it_is_read(void **state)
{
  (void)state;
  recorder r;
  run_passes(&r, false);
  expect_all_announced(&r, 2 * FORWARD);
}

static void also_where_backward_computes_a_layer_again(void **state)
{
  (void)state;
  recorder r;
  run_passes(&r, true);
  expect_all_announced(&r, 2 * FORWARD + REFILLED);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_matrix_is_announced_before_it_is_read),
      cmocka_unit_test(also_where_backward_computes_a_layer_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
