/* What a user chooses: every method lowers a loss, and every difference from the reference code has an
 * effect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_gradients.h"
#include "support/fixtures/tolerances.h"

enum { STEPS = 60, WIDEST = 288 };

/* The loss of a parameter is |W - target|^2 / 2, so G = W - target. The target of a matrix lies a rank-8 step
 * away. */
static float *target_of(const fixture *f, const qg_param *p)
{
  float *target = weight_out(f, p);
  for (int64_t i = 0; i < p->rows; i++)
    for (int64_t j = 0; j < p->cols; j++)
      for (uint64_t k = 0; k < 8; k++)
        target[i * p->cols + j] += 0.02f * noise(k, (uint64_t)i) * noise(100 + k, (uint64_t)j);
  return target;
}

/* Hands out G = W - target with X = the unit matrix and dY = G^T, [cols, rows]. Returns the loss. */
static double send_distance(fixture *f, const qg_param *p, const float *target)
{
  int64_t rows = p->rows, cols = p->cols;
  float *w = weight_out(f, p), *dy = calloc((size_t)(rows * cols), sizeof *dy);
  float *unit = calloc((size_t)(cols * cols), sizeof *unit);
  double loss = 0.0;
  assert_true(dy && unit);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < cols; j++) {
      float g = w[i * cols + j] - target[i * cols + j];
      dy[j * rows + i] = g;
      loss += 0.5 * (double)g * (double)g;
    }
  for (int64_t j = 0; j < cols; j++) unit[j * cols + j] = 1.0f;
  assert_ok(send_matrix(f, p, cols, dy, unit));
  free(w);
  free(dy);
  free(unit);
  return loss;
}

/* Loss of one parameter after STEPS steps, as a share of the first. */
static double remaining_loss(qg_optim_options options, qg_role role)
{
  fixture f;
  options.update_gap = 20;
  small_open(&f, options, WIDEST, 1);
  const qg_param *p = param_of(&f, role, 1);
  float *target = target_of(&f, p);
  const qg_schedule schedule = {.lr = 0.02, .warmup = 5, .steps = STEPS, .min_ratio = 0.1};
  double first = 0.0, last = 0.0;
  for (int64_t step = 0; step <= STEPS; step++) {
    assert_ok(qg_optim_begin(f.optim, step));
    last = send_distance(&f, p, target);
    if (step == 0) first = last;
    assert_ok(qg_optim_finish_gradients(f.optim));
    assert_ok(qg_optim_apply(f.optim, qg_learning_rate(&schedule, step), 1.0));
  }
  free(target);
  fixture_close(&f);
  return last / first;
}

static void assert_learns(qg_method method)
{
  const qg_role roles[] = {QG_ROLE_Q, QG_ROLE_V, QG_ROLE_UP, QG_ROLE_DOWN, QG_ROLE_HEAD};
  for (int i = 0; i < QG_COUNT_OF(roles); i++) {
    double remains = remaining_loss(options_of(method), roles[i]);
    if (!(remains < QG_TOL_TOY_LOSS)) fail_msg("role %d keeps %.3g of its loss", (int)roles[i], remains);
  }
}

static void adamw_lowers_the_loss(void **state)
{
  (void)state;
  assert_learns(QG_METHOD_ADAMW);
}

static void adam8bit_lowers_the_loss(void **state)
{
  (void)state;
  assert_learns(QG_METHOD_ADAM8BIT);
}

static void galore_lowers_the_loss(void **state)
{
  (void)state;
  assert_learns(QG_METHOD_GALORE);
}

static void qgalore_lowers_the_loss(void **state)
{
  (void)state;
  assert_learns(QG_METHOD_QGALORE);
}

static void the_reference_arithmetic_lowers_the_loss_too(void **state)
{
  (void)state;
  qg_optim_options options = options_of(QG_METHOD_QGALORE);
  options.full_gradient = true;
  options.include_zero = false;
  options.similarity = QG_SIMILARITY_COSINE;
  double remains = remaining_loss(options, QG_ROLE_Q);
  assert_true(remains < QG_TOL_TOY_LOSS);
}

static void bf16_weights_learn_with_stochastic_rounding(void **state)
{
  (void)state;
  qg_optim_options options = options_of(QG_METHOD_GALORE);
  options.weight_bits = 16;
  fixture f;
  small_open(&f, options, 8, 1);
  assert_int_equal(qg_weights_format(f.trained.weights, index_of(&f, param_of(&f, QG_ROLE_Q, 0))),
                   QG_WEIGHT_BF16);
  fixture_close(&f);
  assert_true(remaining_loss(options, QG_ROLE_Q) < QG_TOL_TOY_LOSS);
}

/* Makes every weight of a matrix positive: the groups on which quantisers with and without zero differ. */
static void plant_one_sign(fixture *f, const qg_param *p)
{
  int64_t elements = qg_param_elements(p), groups = qg_group_count(elements);
  if (!is_int8(f, p)) return;
  uint8_t *codes = stored_out(f, p, "weights", "codes"), *zero = calloc((size_t)groups, 1);
  assert_non_null(zero);
  for (int64_t i = 0; i < elements; i++) codes[i] |= 0x80;
  assert_ok(f->counter.ops.copy_in(f->be, stored(f, p, "weights", "codes"), codes, (size_t)elements));
  assert_ok(f->counter.ops.copy_in(f->be, stored(f, p, "weights", "zero"), zero, (size_t)groups));
  assert_ok(f->counter.ops.sync(f->be));
  free(codes);
  free(zero);
}

/* All state after some steps of noise; two micro-batches, refreshes at steps 0, 2, 4, ... */
static uint32_t digest_after(qg_optim_options options, int64_t steps)
{
  fixture f;
  options.update_gap = 2;
  small_open(&f, options, 16, 2);
  plant_one_sign(&f, param_of(&f, QG_ROLE_Q, 0));
  for (int64_t step = 0; step < steps; step++) noise_step(&f, step, 0.01);
  uint32_t digest = state_digest(&f);
  fixture_close(&f);
  return digest;
}

static qg_optim_options defaults(void)
{
  return options_of(QG_METHOD_QGALORE);
}

static void a_run_repeats_to_the_bit(void **state)
{
  (void)state;
  assert_int_equal(digest_after(defaults(), 3), digest_after(defaults(), 3));
}

static uint32_t digest_on(bool separate_memory, int64_t micro_batches)
{
  fixture f = {.shape = small_shape(), .options = defaults(), .separate_memory = separate_memory};
  qg_partition part = whole(&f.shape);
  f.options.update_gap = 2;
  fixture_open(&f, &part, "fp32", 16, micro_batches);
  for (int64_t step = 0; step < 3; step++) noise_step(&f, step, 0.01);
  uint32_t digest = state_digest(&f);
  fixture_close(&f);
  return digest;
}

static void a_device_with_memory_of_its_own_gives_the_same_bits(void **state)
{
  (void)state;
  assert_int_equal(digest_on(true, 1), digest_on(false, 1));
  assert_int_equal(digest_on(true, 2), digest_on(false, 2));
}

static void each_difference_from_the_reference_changes_the_step(void **state)
{
  (void)state;
  qg_optim_options variants[11];
  for (int i = 0; i < QG_COUNT_OF(variants); i++) variants[i] = defaults();
  variants[0].stochastic = false;
  variants[1].include_zero = false;
  variants[2].bf16_arithmetic = true;
  variants[3].full_gradient = true; /* the same sum, rounded otherwise */
  variants[4].sample = QG_SAMPLE_MICRO_BATCH;
  variants[5].projector_bits = 32;
  variants[6].moment_block = 2048;
  variants[7].moment_bits = 32;
  variants[8].scale = 1.0;
  variants[9].weight_bits = 32;
  variants[10].seed = 8;
  uint32_t base = digest_after(defaults(), 3);
  for (int i = 0; i < QG_COUNT_OF(variants); i++) {
    uint32_t digest = digest_after(variants[i], 3);
    if (digest == base) fail_msg("variant %d changes nothing", i);
  }
}

/* Noise of 16 tokens in 24 directions of 96: overlap is positive, the signed cosine may be anything. */
static void each_choice_of_the_tracker_changes_when_it_refreshes(void **state)
{
  (void)state;
  qg_optim_options steady = defaults(), eager, strict, capped, cosine;
  steady.similarity_threshold = 0.05;
  steady.similarity_window = 2;
  eager = strict = capped = cosine = steady;
  eager.lazy = false;
  strict.similarity_threshold = 0.99;
  capped.max_update_gap = 4;
  cosine.similarity = QG_SIMILARITY_COSINE;
  uint32_t base = digest_after(steady, 17);
  assert_int_not_equal(digest_after(eager, 17), base);
  assert_int_not_equal(digest_after(strict, 17), base);
  assert_int_not_equal(digest_after(capped, 17), base);
  assert_int_not_equal(digest_after(cosine, 17), base);
}

static void impossible_choices_are_refused(void **state)
{
  (void)state;
  qg_model_shape shape = small_shape();
  qg_partition part = whole(&shape);
  qg_optim_options wrong[5];
  for (int i = 0; i < QG_COUNT_OF(wrong); i++) wrong[i] = defaults();
  wrong[0].moment_bits = 4;
  wrong[1].weight_bits = 4;
  wrong[2].projector_bits = 8;
  wrong[3].similarity_window = QG_TRACKER_WINDOW_MAX + 1;
  wrong[4].rank = 0;
  counting_backend counter;
  counting_open(&counter, "fp32");
  qg_mem *dry;
  assert_ok(qg_mem_create(NULL, &dry));
  for (int i = 0; i < QG_COUNT_OF(wrong); i++) {
    qg_optim_request request = {
        .mem = dry, .be = &counter.be, .options = wrong[i], .tokens = 8, .micro_batches = 1};
    trained t;
    assert_int_equal(trained_create(&request, &shape, &part, &t), QG_ERR_INPUT);
    trained_destroy(&t);
  }
  qg_mem_destroy(dry);
  qg_backend_close(counter.real);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adamw_lowers_the_loss),
      cmocka_unit_test(adam8bit_lowers_the_loss),
      cmocka_unit_test(galore_lowers_the_loss),
      cmocka_unit_test(qgalore_lowers_the_loss),
      cmocka_unit_test(the_reference_arithmetic_lowers_the_loss_too),
      cmocka_unit_test(bf16_weights_learn_with_stochastic_rounding),
      cmocka_unit_test(a_run_repeats_to_the_bit),
      cmocka_unit_test(a_device_with_memory_of_its_own_gives_the_same_bits),
      cmocka_unit_test(each_difference_from_the_reference_changes_the_step),
      cmocka_unit_test(each_choice_of_the_tracker_changes_when_it_refreshes),
      cmocka_unit_test(impossible_choices_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
