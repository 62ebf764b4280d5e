/* What is promised: the gradient port hears when the head's gradient, which comes in blocks of tokens, is
 * whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "model/llama/roles.h"
#include "support/fixtures/one_stage.h"

enum { TOKENS = 8, LOSS_ROWS = 3, BLOCKS = 3 };

static const qg_model_shape shape = ONE_STAGE_SHAPE(1);

/* A port that remembers which gradients are whole, and how many blocks had come when a matrix was. */
typedef struct {
  dense_port dense;
  int matrices, vectors;
  int matrix, vector;
  int64_t blocks;
} listener;

static qg_status hear_complete(void *impl, int param)
{
  listener *l = impl;
  if (qg_model_param(&shape, param).kind == QG_PARAM_VECTOR) {
    l->vectors++;
    l->vector = param;
    return QG_OK;
  }
  l->matrices++;
  l->matrix = param;
  l->blocks = l->dense.matrices;
  return QG_OK;
}

/* The loss of a stage that is the head alone; its port answers through `l`, whose first member is a dense
 * port. */
static void run_loss(listener *l, float grad_scale)
{
  qg_partition head = {.first_layer = 1, .has_head = true};
  qg_stage_options options = {
      .micro_batch = 1, .sequence_length = TOKENS, .logit_chunk_tokens = LOSS_ROWS, .slots = 1};
  one_stage s;
  void *targets, *loss;
  qg_view out;
  *l = (listener){.matrix = -1, .vector = -1};
  one_stage_open(&s, &shape, &head, &options, &l->dense);
  assert_ok(qg_mem_alloc(s.mem, QG_OWNER_DATA, "targets", TOKENS * sizeof(int32_t), &targets));
  assert_ok(qg_mem_alloc(s.mem, QG_OWNER_DATA, "loss", sizeof(double), &loss));
  qg_weight_reader weights = dense_port_reader(&l->dense);
  qg_gradient_port gradients = dense_port_gradients(&l->dense);
  gradients.complete = hear_complete;
  assert_ok(qg_stage_forward(s.stage, &weights, 0, NULL, &out));
  assert_ok(qg_stage_loss(s.stage, &weights, &gradients, 0, targets, grad_scale, loss));
  one_stage_close(&s);
}

static void the_head_is_complete_after_its_last_block(void **state)
{
  (void)state;
  listener l;
  run_loss(&l, 1.0f);
  assert_int_equal(l.matrices, 1);
  assert_int_equal(l.matrix, qg_llama_param(&shape, QG_ROLE_HEAD, -1));
  assert_int_equal(l.blocks, BLOCKS);
  assert_int_equal(l.vectors, 1);
  assert_int_equal(l.vector, qg_llama_param(&shape, QG_ROLE_FINAL_NORM, -1));
}

static void a_loss_without_gradients_says_nothing(void **state)
{
  (void)state;
  listener l;
  run_loss(&l, 0.0f);
  assert_int_equal(l.matrices + l.vectors, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_head_is_complete_after_its_last_block),
      cmocka_unit_test(a_loss_without_gradients_says_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
