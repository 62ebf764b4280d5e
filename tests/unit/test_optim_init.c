/* Fresh weights: normal with deviation 0.02, the same bits on every partition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_gradients.h"
#include "support/fixtures/tolerances.h"

static void matrices_are_normal_with_deviation_002(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_ADAMW), 8, 1);
  const qg_param *p = param_of(&f, QG_ROLE_GATE, 0);
  int64_t n = qg_param_elements(p), within = 0;
  float *w = weight_out(&f, p);
  double sum = 0.0, squares = 0.0;
  for (int64_t i = 0; i < n; i++) {
    sum += (double)w[i];
    squares += (double)w[i] * (double)w[i];
    within += fabsf(w[i]) < 0.02f;
  }
  double count = (double)n;
  assert_true(fabs(sum / count) < QG_TOL_SAMPLE_SIGMAS * 0.02 / sqrt(count));
  assert_true(fabs(squares / count / 4e-4 - 1.0) < QG_TOL_SAMPLE_SIGMAS * sqrt(2.0 / count));
  assert_true(fabs((double)within / count - 0.6827) < QG_TOL_SAMPLE_SIGMAS * sqrt(0.6827 * 0.3173 / count));
  free(w);
  fixture_close(&f);
}

static void norms_are_one(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_QGALORE), 8, 1);
  const qg_role roles[] = {QG_ROLE_ATTN_NORM, QG_ROLE_MLP_NORM, QG_ROLE_FINAL_NORM};
  for (int i = 0; i < QG_COUNT_OF(roles); i++) {
    float *w = weight_out(&f, param_of(&f, roles[i], 1));
    for (int64_t j = 0; j < f.shape.hidden_size; j++) assert_true(w[j] == 1.0f);
    free(w);
  }
  fixture_close(&f);
}

static void parameters_and_seeds_differ(void **state)
{
  (void)state;
  fixture f, g;
  qg_optim_options options = options_of(QG_METHOD_ADAMW);
  small_open(&f, options, 8, 1);
  options.seed++;
  small_open(&g, options, 8, 1);
  float *a = weight_out(&f, param_of(&f, QG_ROLE_Q, 0)), *b = weight_out(&f, param_of(&f, QG_ROLE_Q, 1));
  float *c = weight_out(&g, param_of(&g, QG_ROLE_Q, 0));
  assert_memory_not_equal(a, b, 64);
  assert_memory_not_equal(a, c, 64);
  free(a);
  free(b);
  free(c);
  fixture_close(&f);
  fixture_close(&g);
}

/* INT8 weights are the same numbers, rounded to the nearest code. */
static void quantised_weights_are_the_dense_ones_rounded(void **state)
{
  (void)state;
  fixture f, g;
  small_open(&f, options_of(QG_METHOD_ADAMW), 8, 1);
  small_open(&g, options_of(QG_METHOD_QGALORE), 8, 1);
  const qg_param *p = param_of(&g, QG_ROLE_DOWN, 1);
  float *dense = weight_out(&f, param_of(&f, QG_ROLE_DOWN, 1)), *decoded = weight_out(&g, p);
  float *scale = stored_out(&g, p, "weights", "scale");
  for (int64_t i = 0; i < qg_param_elements(p); i++)
    assert_true(fabsf(dense[i] - decoded[i]) <= 0.5001f * scale[i / QG_GROUP] + 1e-9f);
  free(dense);
  free(decoded);
  free(scale);
  fixture_close(&f);
  fixture_close(&g);
}

/* A matrix of more than one piece, whose pieces end where groups do and moment blocks do not. */
static void fresh_weights_do_not_depend_on_moment_blocks(void **state)
{
  (void)state;
  fixture f[2];
  float *weights[2];
  int64_t count = 0;
  for (int i = 0; i < 2; i++) {
    f[i] = (fixture){.shape = small_shape(), .options = options_of(QG_METHOD_QGALORE)};
    f[i].shape.intermediate_size = 11000;
    f[i].shape.num_layers = 1;
    if (i == 1) f[i].options.moment_block = 100;
    qg_partition part = whole(&f[i].shape);
    fixture_open(&f[i], &part, "fp32", 8, 1);
    const qg_param *p = param_of(&f[i], QG_ROLE_UP, 0);
    count = qg_param_elements(p);
    assert_true(is_int8(&f[i], p) && count > f[i].be->update_elements);
    weights[i] = weight_out(&f[i], p);
  }
  assert_memory_equal(weights[0], weights[1], (size_t)count * sizeof(float));
  for (int i = 0; i < 2; i++) {
    free(weights[i]);
    fixture_close(&f[i]);
  }
}

/* The weight of one parameter when a stage holds only a part of the model. */
static void assert_same_on_stage(const fixture *all, const qg_partition *part)
{
  fixture f = {.shape = all->shape, .options = all->options};
  int held = 0;
  fixture_open(&f, part, "fp32", 8, 1);
  for (int id = 0; id < param_count(&f); id++) {
    const qg_param *p = param_at(&f, id);
    if (!p->held) continue;
    held++;
    float *a = weight_out(all, param_at(all, id)), *b = weight_out(&f, p);
    assert_memory_equal(a, b, (size_t)qg_param_elements(p) * sizeof *a);
    free(a);
    free(b);
  }
  assert_true(held > 0);
  fixture_close(&f);
}

static void every_partition_starts_from_the_same_bits(void **state)
{
  (void)state;
  fixture all;
  small_open(&all, options_of(QG_METHOD_QGALORE), 8, 1);
  const qg_partition first = {.num_layers = 1, .has_embedding = true};
  const qg_partition last = {.first_layer = 1, .num_layers = 1, .has_head = true};
  const qg_partition only_head = {.first_layer = 2, .has_head = true};
  assert_same_on_stage(&all, &first);
  assert_same_on_stage(&all, &last);
  assert_same_on_stage(&all, &only_head);
  fixture_close(&all);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(matrices_are_normal_with_deviation_002),
      cmocka_unit_test(norms_are_one),
      cmocka_unit_test(parameters_and_seeds_differ),
      cmocka_unit_test(quantised_weights_are_the_dense_ones_rounded),
      cmocka_unit_test(fresh_weights_do_not_depend_on_moment_blocks),
      cmocka_unit_test(every_partition_starts_from_the_same_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
