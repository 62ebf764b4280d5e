/* What is promised: a pass over the layers says before each product which matrix it will read next, in the
 * order in which it then reads them, so that only the first one of a pass is unpacked unannounced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "../support/dense_port.h"
#include "qgalore/base.h"

#define assert_ok(call)                                                                              \
  do {                                                                                               \
    if ((call) != QG_OK) fail_msg("%s failed: %s\n%s", #call, qg_error_message(), qg_error_trace()); \
  } while (0)

enum { LAYERS = 3, TOKENS = 8, FORWARD = 7 * LAYERS, REFILLED = 6 * LAYERS, MOST = 2 * FORWARD + REFILLED };

static const qg_model_shape shape = {.hidden_size = 16,
                                     .intermediate_size = 24,
                                     .num_layers = LAYERS,
                                     .num_heads = 2,
                                     .num_kv_heads = 2,
                                     .vocab_size = 10,
                                     .rope_theta = 10000,
                                     .rms_norm_eps = 1e-6};

/* A port that remembers which matrices of layers it gave out, and which of them it was told of before. */
typedef struct {
  dense_port dense;
  int reads[MOST],
      announced[MOST]; /* announced[i]: what the port was told to expect as reads[i]; -1: nothing */
  int count, expected;
} recorder;

static qg_status recorded_read(void *impl, int param, qg_view *out)
{
  recorder *r = impl;
  if (qg_role_is_linear(qg_param_describe(&shape, param).role)) {
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

static qg_status recorded_matrix_grad(void *impl, int param, qg_view dy, qg_view x)
{
  return dense_port_matrix_grad(&((recorder *)impl)->dense, param, dy, x);
}

static qg_status recorded_vector_grad(void *impl, int param, float **out)
{
  return dense_port_vector_grad(&((recorder *)impl)->dense, param, out);
}

static void run_passes(recorder *r, bool checkpointing)
{
  qg_backend_request request = {.name = "cpu", .precision = "fp32", .threads = 1};
  qg_partition middle = {.num_layers = LAYERS};
  qg_stage_options options = {.micro_batch = 1,
                              .sequence_length = TOKENS,
                              .loss_rows = TOKENS,
                              .checkpointing = checkpointing,
                              .slots = 1};
  qg_workload workload = {.tokens = TOKENS,
                          .sequence_length = TOKENS,
                          .hidden_size = 16,
                          .intermediate_size = 24,
                          .num_heads = 2,
                          .num_kv_heads = 2,
                          .vocab_size = 10,
                          .loss_rows = TOKENS};
  qg_backend *be;
  qg_mem *mem;
  qg_stage *stage;
  qg_view view;
  *r = (recorder){.expected = -1};
  qg_param_port port = {.impl = r,
                        .read = recorded_read,
                        .prefetch = recorded_prefetch,
                        .matrix_grad = recorded_matrix_grad,
                        .vector_grad = recorded_vector_grad};
  assert_ok(qg_backend_open(&request, &be));
  assert_ok(qg_mem_create(be, &mem));
  assert_ok(qg_backend_reserve(mem, be, &workload));
  assert_ok(dense_port_open(mem, be, &shape, true, &r->dense));
  assert_ok(qg_stage_create(mem, be, &shape, &middle, &options, &stage));
  assert_ok(qg_stage_init(stage));
  assert_ok(qg_stage_forward(stage, &port, 0, NULL, &view));
  assert_int_equal(r->count, FORWARD);
  assert_ok(qg_stage_backward(stage, &port, 0, NULL, view, &view));
  qg_stage_destroy(stage);
  dense_port_close(&r->dense);
  qg_mem_destroy(mem);
  qg_backend_close(be);
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
