/* Fused updates: the same bits as accumulated ones, from gradients that take turns in one memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_gradients.h"

enum { TOKENS = 40, STEPS = 5 };

static qg_optim_options fused_options(qg_method method)
{
  qg_optim_options options = options_of(method);
  options.fused = true;
  options.update_gap = 2;
  options.rotate_moments = options.stagger = options.clamp_second_moment = true;
  return options;
}

/* Some steps with clipping by a factor that both ways are told. */
static uint32_t digest_after(qg_optim_options options, double *squares)
{
  fixture f;
  small_open(&f, options, TOKENS, 1);
  for (int64_t step = 0; step < STEPS; step++) {
    assert_ok(qg_optim_begin(f.optim, step));
    qg_optim_set_rates(f.optim, 0.01, 0.5);
    send_noise(&f, step, 0);
    assert_ok(qg_optim_finish_gradients(f.optim));
    assert_ok(qg_optim_norms(f.optim, squares));
    assert_ok(qg_optim_apply(f.optim, 0.01, 0.5));
  }
  uint32_t digest = state_digest(&f);
  fixture_close(&f);
  return digest;
}

static void expect_same_bits(qg_method method)
{
  qg_model_shape shape = small_shape();
  size_t parameters = (size_t)qg_model_param_count(&shape);
  double *fused = calloc(parameters, sizeof *fused), *accumulated = calloc(parameters, sizeof *accumulated);
  qg_optim_options options = fused_options(method);
  assert_true(fused && accumulated);
  uint32_t one = digest_after(options, fused);
  options.fused = false;
  assert_int_equal(one, digest_after(options, accumulated));
  assert_memory_equal(fused, accumulated, parameters * sizeof *fused);
  free(fused);
  free(accumulated);
}

static void fused_and_accumulated_updates_give_the_same_bits(void **state)
{
  (void)state;
  expect_same_bits(QG_METHOD_QGALORE);
  expect_same_bits(QG_METHOD_GALORE);
  expect_same_bits(QG_METHOD_ADAM8BIT);
  expect_same_bits(QG_METHOD_ADAMW);
}

static size_t bytes_of(qg_optim_options options, qg_owner owner)
{
  fixture f;
  small_open(&f, options, TOKENS, 1);
  size_t bytes = qg_mem_bytes(f.mem, owner);
  fixture_close(&f);
  return bytes;
}

/* All but those of the five norms lie in scratch: at most an R of 288 x 24 comes to what is there anyway. */
static void gradients_of_fused_matrices_take_turns(void **state)
{
  (void)state;
  qg_optim_options fused = fused_options(QG_METHOD_QGALORE), accumulated = fused;
  accumulated.fused = false;
  assert_int_equal(bytes_of(fused, QG_OWNER_GRADIENTS), 4 * 5 * 96);
  assert_in_range(bytes_of(fused, QG_OWNER_WORKSPACE), bytes_of(accumulated, QG_OWNER_WORKSPACE),
                  bytes_of(accumulated, QG_OWNER_WORKSPACE) + 4 * 288 * 24);
}

static void open_typed(fixture *f, const char *precision, qg_dtype accumulators)
{
  *f = (fixture){.shape = small_shape(), .options = fused_options(QG_METHOD_QGALORE)};
  f->options.accumulators = accumulators;
  qg_partition part = whole(&f->shape);
  fixture_open(f, &part, precision, TOKENS, 1);
}

static qg_status send_block(fixture *f, const qg_param *p, const float *dy, const float *x, int64_t first,
                            int64_t count)
{
  return send_matrix(f, p, count, dy + first * p->rows, x + first * p->cols);
}

/* The head's gradient comes in blocks of tokens: nothing moves before the last of them. */
static void a_head_is_updated_when_its_gradient_is_whole(void **state)
{
  (void)state;
  fixture fused, accumulated;
  open_typed(&fused, "fp32", QG_F32);
  small_open(&accumulated, options_of(QG_METHOD_QGALORE), TOKENS, 1);
  fixture *both[] = {&fused, &accumulated};
  float *weights[3];
  for (int i = 0; i < 2; i++) {
    fixture *f = both[i];
    const qg_param *head = param_of(f, QG_ROLE_HEAD, -1);
    float *dy = pair_half(f, head, 0, 0, 0), *x = pair_half(f, head, 0, 0, 1);
    assert_ok(qg_optim_begin(f->optim, 0));
    qg_optim_set_rates(f->optim, 0.01, 1.0);
    assert_ok(send_block(f, head, dy, x, 0, 16));
    assert_ok(send_block(f, head, dy, x, 16, TOKENS - 16));
    if (i == 0) weights[2] = weight_out(f, head);
    complete(f, head);
    assert_ok(qg_optim_finish_gradients(f->optim));
    if (i == 1) assert_ok(qg_optim_apply(f->optim, 0.01, 1.0));
    weights[i] = weight_out(f, head);
    free(dy);
    free(x);
  }
  size_t bytes = 150 * 96 * sizeof(float);
  assert_memory_equal(weights[0], weights[1], bytes);
  assert_memory_not_equal(weights[0], weights[2], bytes);
  for (int i = 0; i < 3; i++) free(weights[i]);
  fixture_close(&fused);
  fixture_close(&accumulated);
}

/* An fp32 head is read as a bf16 copy in scratch, where gradients take their turns too. */
static void a_head_stays_readable_while_its_gradient_gathers(void **state)
{
  (void)state;
  fixture f;
  open_typed(&f, "bf16", QG_F32);
  const qg_param *head = param_of(&f, QG_ROLE_HEAD, -1);
  assert_ok(qg_optim_begin(f.optim, 0));
  qg_view weight = read_weight(&f, head);
  assert_int_equal(weight.type, QG_BF16);
  size_t bytes = qg_dtype_bytes(QG_BF16, weight.rows * weight.cols);
  void *before = copied_out(&f, weight.data, bytes);
  assert_ok(f.counter.ops.zero(f.be, sink_of(&f, head).accumulated.data, 4 * 150 * 96));
  void *after = copied_out(&f, weight.data, bytes);
  assert_memory_equal(before, after, bytes);
  free(before);
  free(after);
  fixture_close(&f);
}

/* What adds up over blocks keeps its type, so that both ways to update round alike. */
static void a_fused_head_adds_up_in_the_type_of_accumulators(void **state)
{
  (void)state;
  fixture f;
  open_typed(&f, "bf16", QG_BF16);
  assert_int_equal(sink_of(&f, param_of(&f, QG_ROLE_HEAD, -1)).accumulated.type, QG_BF16);
  assert_int_equal(sink_of(&f, param_of(&f, QG_ROLE_EMBED, -1)).accumulated.type, QG_BF16);
  assert_int_equal(sink_of(&f, param_of(&f, QG_ROLE_Q, 0)).accumulated.type, QG_F32);
  fixture_close(&f);
}

static void tied_embeddings_wait_for_both_parts(void **state)
{
  (void)state;
  fixture f = {.shape = small_shape(), .options = fused_options(QG_METHOD_QGALORE)};
  f.shape.tie_embeddings = true;
  qg_partition part = whole(&f.shape);
  fixture_open(&f, &part, "fp32", TOKENS, 1);
  assert_false(sink_of(&f, param_of(&f, QG_ROLE_EMBED, -1)).fused);
  assert_true(sink_of(&f, param_of(&f, QG_ROLE_Q, 0)).fused);
  fixture_close(&f);
}

/* A discarded step: no weight, moment, projector or tracker moves, and the norm says that something is wrong.
 */
static void a_step_whose_gradient_is_not_finite_touches_nothing(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, fused_options(QG_METHOD_QGALORE), TOKENS, 1);
  noise_step(&f, 0, 0.01);
  uint32_t before = state_digest(&f);
  double *squares = calloc((size_t)param_count(&f), sizeof *squares);
  assert_ok(qg_optim_begin(f.optim, 2));
  qg_optim_set_rates(f.optim, 0.01, 1.0);
  assert_true(qg_optim_acts_in_backward(f.optim));
  const float entering[] = {1.0f, NAN};
  put(&f, f.x, entering, 2);
  assert_ok(qg_optim_check_incoming(f.optim, qg_view_make(f.x, QG_F32, 1, 2)));
  send_noise(&f, 2, 0);
  assert_ok(qg_optim_finish_gradients(f.optim));
  assert_ok(qg_optim_norms(f.optim, squares));
  assert_true(isnan(squares[1]));
  assert_int_equal(state_digest(&f), before);
  assert_int_equal(qg_optim_get_stats(f.optim).refreshes, 0);
  free(squares);
  fixture_close(&f);
}

/* In the order of backward, with one infinity in the dY of one matrix. */
static void send_noise_with_overflow(fixture *f, int64_t step, const qg_param *bad)
{
  for (int id = param_count(f) - 1; id >= 0; id--) {
    const qg_param *p = param_at(f, id);
    if (!is_linear(p)) continue;
    float *dy = pair_half(f, p, step, 0, 0), *x = pair_half(f, p, step, 0, 1);
    if (p == bad) dy[0] = INFINITY;
    assert_ok(send_matrix(f, p, f->tokens, dy, x));
    complete(f, p);
    free(dy);
    free(x);
  }
}

static uint32_t digest_of_codes(const fixture *f, const qg_param *p)
{
  size_t bytes = (size_t)(p->rows * p->cols);
  void *codes = stored_out(f, p, "weights", "codes");
  uint32_t digest = qg_crc32c(0, codes, bytes);
  free(codes);
  return digest;
}

/* Overflow inside backward: what came before it is updated, nothing after. */
static void updates_end_at_the_first_gradient_that_is_not_finite(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, fused_options(QG_METHOD_QGALORE), TOKENS, 1);
  noise_step(&f, 0, 0.01);
  const qg_param *bad = param_of(&f, QG_ROLE_K, 1);
  uint32_t *before = calloc((size_t)param_count(&f), sizeof *before);
  double *squares = calloc((size_t)param_count(&f), sizeof *squares);
  for (int id = 0; id < param_count(&f); id++)
    if (is_linear(param_at(&f, id))) before[id] = digest_of_codes(&f, param_at(&f, id));
  assert_ok(qg_optim_begin(f.optim, 1));
  qg_optim_set_rates(f.optim, 0.01, 1.0);
  send_noise_with_overflow(&f, 1, bad);
  assert_ok(qg_optim_finish_gradients(f.optim));
  assert_ok(qg_optim_norms(f.optim, squares));
  assert_true(isnan(squares[1]));
  for (int id = 0; id < param_count(&f); id++) {
    const qg_param *p = param_at(&f, id);
    if (is_linear(p)) assert_int_equal(digest_of_codes(&f, p) == before[id], id <= index_of(&f, bad));
  }
  free(squares);
  free(before);
  fixture_close(&f);
}

/* The head comes first in backward, so one that overflows leaves the whole model as it was. */
static void a_head_whose_gradient_is_not_finite_ends_the_step(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, fused_options(QG_METHOD_QGALORE), TOKENS, 1);
  noise_step(&f, 0, 0.01);
  uint32_t before = state_digest(&f);
  const qg_param *head = param_of(&f, QG_ROLE_HEAD, -1);
  float *dy = pair_half(&f, head, 1, 0, 0), *x = pair_half(&f, head, 1, 0, 1);
  dy[0] = INFINITY;
  assert_ok(qg_optim_begin(f.optim, 1));
  qg_optim_set_rates(f.optim, 0.01, 1.0);
  assert_ok(send_matrix(&f, head, TOKENS, dy, x));
  complete(&f, head);
  send_noise(&f, 1, 0);
  assert_ok(qg_optim_finish_gradients(f.optim));
  assert_int_equal(state_digest(&f), before);
  free(dy);
  free(x);
  fixture_close(&f);
}

static void several_micro_batches_are_refused(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_QGALORE), TOKENS, 1);
  qg_optim_request request = fixture_request(&f);
  request.options = fused_options(QG_METHOD_QGALORE);
  request.micro_batches = 2;
  trained t;
  assert_int_equal(trained_create(&request, &f.shape, &f.part, &t), QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), "train.update = accumulated"));
  trained_destroy(&t);
  fixture_close(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fused_and_accumulated_updates_give_the_same_bits),
      cmocka_unit_test(gradients_of_fused_matrices_take_turns),
      cmocka_unit_test(a_head_is_updated_when_its_gradient_is_whole),
      cmocka_unit_test(a_head_stays_readable_while_its_gradient_gathers),
      cmocka_unit_test(a_fused_head_adds_up_in_the_type_of_accumulators),
      cmocka_unit_test(tied_embeddings_wait_for_both_parts),
      cmocka_unit_test(a_step_whose_gradient_is_not_finite_touches_nothing),
      cmocka_unit_test(updates_end_at_the_first_gradient_that_is_not_finite),
      cmocka_unit_test(a_head_whose_gradient_is_not_finite_ends_the_step),
      cmocka_unit_test(several_micro_batches_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
