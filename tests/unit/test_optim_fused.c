/* Fused updates: the same bits as accumulated ones, from one low-rank gradient for all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../support/optim_fixture.h"

enum { TOKENS = 40, STEPS = 5 };

static qg_optim_options fused_options(qg_method method)
{
  qg_optim_options options = options_of(method);
  options.fused = true;
  options.update_gap = 2;
  options.rotate_moments = options.stagger = options.bound_moments = true;
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
  size_t parameters = (size_t)qg_param_count(&shape);
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
  expect_same_bits(QG_METHOD_ADAM8BIT); /* nothing is projected, nothing differs */
}

static size_t gradient_bytes(qg_optim_options options)
{
  fixture f;
  small_open(&f, options, TOKENS, 1);
  size_t bytes = qg_mem_bytes(f.mem, QG_OWNER_GRADIENTS);
  fixture_close(&f);
  return bytes;
}

/* R of every matrix against the largest one; a 288 x 24 R for a rank of 24. */
static void fused_matrices_share_one_low_rank_gradient(void **state)
{
  (void)state;
  qg_optim_options options = fused_options(QG_METHOD_QGALORE);
  size_t fused = gradient_bytes(options);
  options.fused = false;
  size_t per_layer =
      2 * 96 + 2 * 96 + 3 * 288; /* q o, k v (48 x 96: left), gate up down; times the rank of 24 */
  assert_int_equal(gradient_bytes(options) - fused, 4 * 24 * (2 * per_layer - 288));
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
  double *squares = calloc((size_t)f.optim->param_count, sizeof *squares);
  assert_ok(qg_optim_begin(f.optim, 2));
  qg_optim_set_rates(f.optim, 0.01, 1.0);
  assert_true(qg_optim_acts_in_backward(f.optim));
  qg_optim_discard(f.optim);
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
static void send_noise_with_overflow(fixture *f, int64_t step, const qg_optim_param *bad)
{
  for (int id = f->optim->param_count - 1; id >= 0; id--) {
    const qg_optim_param *p = &f->optim->params[id];
    if (!p->policy.fused) continue;
    float *dy = pair_half(f, p, step, 0, 0), *x = pair_half(f, p, step, 0, 1);
    if (p == bad) dy[0] = INFINITY;
    assert_ok(send_matrix(f, p, f->tokens, dy, x));
    free(dy);
    free(x);
  }
}

static uint32_t digest_of_codes(const fixture *f, const qg_optim_param *p)
{
  size_t bytes = (size_t)(p->info.rows * p->info.cols);
  void *codes = copied_out(f, p->codes.codes, bytes);
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
  const qg_optim_param *bad = param_of(&f, QG_ROLE_K, 1);
  uint32_t *before = calloc((size_t)f.optim->param_count, sizeof *before);
  double *squares = calloc((size_t)f.optim->param_count, sizeof *squares);
  for (int id = 0; id < f.optim->param_count; id++)
    if (f.optim->params[id].policy.fused) before[id] = digest_of_codes(&f, &f.optim->params[id]);
  assert_ok(qg_optim_begin(f.optim, 1));
  qg_optim_set_rates(f.optim, 0.01, 1.0);
  send_noise_with_overflow(&f, 1, bad);
  assert_ok(qg_optim_finish_gradients(f.optim));
  assert_ok(qg_optim_norms(f.optim, squares));
  assert_true(isnan(squares[1]));
  for (int id = 0; id < f.optim->param_count; id++) {
    const qg_optim_param *p = &f.optim->params[id];
    if (p->policy.fused) assert_int_equal(digest_of_codes(&f, p) == before[id], id <= bad->info.id);
  }
  free(squares);
  free(before);
  fixture_close(&f);
}

static void several_micro_batches_are_refused(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_QGALORE), TOKENS, 1);
  qg_optim_options options = fused_options(QG_METHOD_QGALORE);
  qg_partition part = whole(&f.shape);
  qg_optim *optim;
  assert_int_equal(qg_optim_create(f.mem, &f.counter.be, &f.shape, &part, &options, TOKENS, 2, &optim),
                   QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), "train.update = accumulated"));
  fixture_close(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fused_and_accumulated_updates_give_the_same_bits),
      cmocka_unit_test(fused_matrices_share_one_low_rank_gradient),
      cmocka_unit_test(a_step_whose_gradient_is_not_finite_touches_nothing),
      cmocka_unit_test(updates_end_at_the_first_gradient_that_is_not_finite),
      cmocka_unit_test(several_micro_batches_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
