/* What is promised: the port hears when the head's gradient, which comes in blocks of tokens, is whole. */
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

enum { TOKENS = 8, LOSS_ROWS = 3, BLOCKS = 3 };

static const qg_model_shape shape = {.hidden_size = 16,
                                     .intermediate_size = 24,
                                     .num_layers = 1,
                                     .num_heads = 2,
                                     .num_kv_heads = 2,
                                     .vocab_size = 10,
                                     .rope_theta = 10000,
                                     .rms_norm_eps = 1e-6};

/* A port that remembers what was done of which matrix, and how many blocks had come by then. */
typedef struct {
  dense_port dense;
  int done, param;
  int64_t blocks;
} listener;

static qg_status hear_done(void *impl, int param)
{
  listener *l = impl;
  l->done++;
  l->param = param;
  l->blocks = l->dense.matrix_grads;
  return QG_OK;
}

/* The loss of a stage that is the head alone; its port answers through `l`, whose first member is a dense
 * port.
 */
static void run_loss(listener *l, float grad_scale)
{
  qg_backend_request request = {.name = "cpu", .precision = "fp32", .threads = 1};
  qg_partition head = {.first_layer = 1, .has_head = true};
  qg_stage_options options = {
      .micro_batch = 1, .sequence_length = TOKENS, .loss_rows = LOSS_ROWS, .slots = 1};
  qg_workload workload = {.tokens = TOKENS,
                          .sequence_length = TOKENS,
                          .hidden_size = 16,
                          .intermediate_size = 24,
                          .num_heads = 2,
                          .num_kv_heads = 2,
                          .vocab_size = 10,
                          .loss_rows = LOSS_ROWS};
  qg_backend *be;
  qg_mem *mem;
  qg_stage *stage;
  void *targets, *loss;
  qg_view out;
  *l = (listener){.param = -1};
  assert_ok(qg_backend_open(&request, &be));
  assert_ok(qg_mem_create(be, &mem));
  assert_ok(qg_backend_reserve(mem, be, &workload));
  assert_ok(dense_port_open(mem, be, &shape, true, &l->dense));
  assert_ok(qg_mem_alloc(mem, QG_OWNER_DATA, "targets", TOKENS * sizeof(int32_t), &targets));
  assert_ok(qg_mem_alloc(mem, QG_OWNER_DATA, "loss", sizeof(double), &loss));
  assert_ok(qg_stage_create(mem, be, &shape, &head, &options, &stage));
  qg_param_port port = dense_port_calls(&l->dense);
  port.matrix_done = hear_done;
  assert_ok(qg_stage_forward(stage, &port, 0, NULL, &out));
  assert_ok(qg_stage_loss(stage, &port, 0, targets, grad_scale, loss));
  qg_stage_destroy(stage);
  dense_port_close(&l->dense);
  qg_mem_destroy(mem);
  qg_backend_close(be);
}

static void the_head_is_done_after_its_last_block(void **state)
{
  (void)state;
  listener l;
  run_loss(&l, 1.0f);
  assert_int_equal(l.done, 1);
  assert_int_equal(l.param, qg_param_id(&shape, QG_ROLE_HEAD, -1));
  assert_int_equal(l.blocks, BLOCKS);
}

static void a_loss_without_gradients_says_nothing(void **state)
{
  (void)state;
  listener l;
  run_loss(&l, 0.0f);
  assert_int_equal(l.done, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_head_is_done_after_its_last_block),
      cmocka_unit_test(a_loss_without_gradients_says_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
