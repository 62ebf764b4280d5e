/* Frozen parameters: no memory but that of their weights, which never change; the others learn as if nothing
 * were frozen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_freezing.h"

enum { TOKENS = 40, STEPS = 5, PARAMS = 2 * QG_LAYER_PARAMS + 3, RANK = 24 };

/* A matrix, a vector, a table and a whole layer. */
static const bool *some_frozen(void)
{
  static bool frozen[PARAMS];
  qg_model_shape shape = small_shape();
  assert_int_equal(qg_model_param_count(&shape), PARAMS);
  frozen[qg_llama_param(&shape, QG_ROLE_Q, 0)] = true;
  frozen[qg_llama_param(&shape, QG_ROLE_MLP_NORM, 0)] = true;
  frozen[qg_llama_param(&shape, QG_ROLE_EMBED, -1)] = true;
  for (int i = 0; i < QG_LAYER_PARAMS; i++) frozen[qg_llama_param(&shape, QG_ROLE_ATTN_NORM, 1) + i] = true;
  return frozen;
}

static void open_on(fixture *f, qg_optim_options options, int64_t micro_batches, const bool *frozen)
{
  *f = (fixture){.shape = small_shape(), .options = options, .frozen = frozen};
  qg_partition part = whole(&f->shape);
  fixture_open(f, &part, "fp32", TOKENS, micro_batches);
}

/* --- memory --- */

/* Elements of what Adam sees. */
static int64_t seen_elements(const qg_param *p)
{
  return is_linear(p) ? RANK * qg_max_i64(p->rows, p->cols) : qg_param_elements(p);
}

static size_t projector_bytes(const qg_param *p)
{
  int64_t elements = is_linear(p) ? RANK * qg_min_i64(p->rows, p->cols) : 0;
  return (size_t)(elements / 2 + qg_group_count(elements) * 5);
}

/* 8 bits from 4096 elements on, with two absmax in 256. */
static size_t moment_bytes(const qg_param *p)
{
  int64_t elements = seen_elements(p);
  return (size_t)(elements < 4096 ? 8 * elements : 2 * elements + 8 * qg_ceil_div(elements, 256));
}

/* With several micro-batches a refresh wants G of a matrix too. */
static size_t gradient_bytes(const qg_param *p, int64_t micro_batches)
{
  int64_t full = is_linear(p) && micro_batches > 1 ? qg_param_elements(p) : 0;
  return 4 * (size_t)(seen_elements(p) + full);
}

static size_t saved(const fixture *all, const fixture *some, qg_owner owner)
{
  return qg_mem_bytes(all->mem, owner) - qg_mem_bytes(some->mem, owner);
}

static void expect_savings(int64_t micro_batches)
{
  fixture all, some;
  size_t gradients = 0, moments = 0, projectors = 0;
  open_on(&all, options_of(QG_METHOD_QGALORE), micro_batches, NULL);
  open_on(&some, options_of(QG_METHOD_QGALORE), micro_batches, some_frozen());
  for (int i = 0; i < PARAMS; i++) {
    if (!some.frozen[i]) continue;
    gradients += gradient_bytes(param_at(&all, i), micro_batches);
    moments += moment_bytes(param_at(&all, i));
    projectors += projector_bytes(param_at(&all, i));
  }
  assert_int_equal(saved(&all, &some, QG_OWNER_GRADIENTS), gradients);
  assert_int_equal(saved(&all, &some, QG_OWNER_MOMENTS), moments);
  assert_int_equal(saved(&all, &some, QG_OWNER_PROJECTORS), projectors);
  assert_int_equal(saved(&all, &some, QG_OWNER_WEIGHTS), 0);
  assert_in_range(qg_mem_bytes(some.mem, QG_OWNER_WORKSPACE), 1, qg_mem_bytes(all.mem, QG_OWNER_WORKSPACE));
  fixture_close(&all);
  fixture_close(&some);
}

static void they_have_no_gradient_moments_or_projector(void **state)
{
  (void)state;
  expect_savings(1);
  expect_savings(2);
}

static void a_model_that_is_all_frozen_has_weights_alone(void **state)
{
  (void)state;
  bool frozen[PARAMS];
  memset(frozen, true, sizeof frozen);
  fixture f;
  open_on(&f, options_of(QG_METHOD_QGALORE), 1, frozen);
  const qg_owner empty[] = {QG_OWNER_GRADIENTS, QG_OWNER_MOMENTS, QG_OWNER_PROJECTORS};
  for (int i = 0; i < QG_COUNT_OF(empty); i++) assert_int_equal(qg_mem_bytes(f.mem, empty[i]), 0);
  uint32_t before = state_digest(&f);
  run_steps(&f, 0, STEPS);
  assert_int_equal(state_digest(&f), before);
  assert_false(qg_optim_state_modified(f.optim));
  fixture_close(&f);
}

/* --- gradients --- */

static void their_gradients_are_taken_without_effect(void **state)
{
  (void)state;
  fixture f;
  open_on(&f, busy_options(QG_METHOD_QGALORE), 1, some_frozen());
  assert_ok(qg_optim_begin(f.optim, 0));
  uint32_t before = state_digest(&f);
  for (int i = PARAMS - 1; i >= 0; i--)
    if (f.frozen[i]) send_noise_gradient(&f, param_at(&f, i), 0, 0);
  assert_int_equal(state_digest(&f), before);
  assert_int_equal(qg_optim_get_stats(f.optim).refreshes, 0);
  assert_false(qg_optim_state_modified(f.optim));
  fixture_close(&f);
}

static void a_vector_has_no_accumulator(void **state)
{
  (void)state;
  fixture f;
  open_on(&f, options_of(QG_METHOD_QGALORE), 1, some_frozen());
  const qg_gradient_port *port = qg_optim_port(f.optim);
  float *accumulator = f.x;
  assert_ok(qg_optim_begin(f.optim, 0));
  assert_ok(port->vector(port->impl, index_of(&f, param_of(&f, QG_ROLE_MLP_NORM, 0)), &accumulator));
  assert_null(accumulator);
  assert_ok(port->vector(port->impl, index_of(&f, param_of(&f, QG_ROLE_ATTN_NORM, 0)), &accumulator));
  assert_non_null(accumulator);
  fixture_close(&f);
}

/* Nobody looks at it, so it spoils nothing either. */
static void a_gradient_that_is_not_finite_does_not_end_the_step(void **state)
{
  (void)state;
  fixture f;
  open_on(&f, options_of(QG_METHOD_QGALORE), 2, some_frozen());
  const qg_param *p = param_of(&f, QG_ROLE_Q, 0);
  float *dy = pair_half(&f, p, 0, 0, 0), *x = pair_half(&f, p, 0, 0, 1);
  double squares[PARAMS];
  dy[0] = NAN;
  assert_ok(qg_optim_begin(f.optim, 0));
  assert_ok(send_matrix(&f, p, TOKENS, dy, x));
  for (int64_t i = 0; i < 2; i++) send_noise(&f, 0, i);
  assert_ok(qg_optim_finish_gradients(f.optim));
  assert_ok(qg_optim_norms(f.optim, squares));
  for (int i = 0; i < PARAMS; i++) assert_true(f.frozen[i] || isfinite(squares[i]));
  free(dy);
  free(x);
  fixture_close(&f);
}

static void norms_leave_them_out(void **state)
{
  (void)state;
  fixture all, some;
  double wanted[PARAMS], squares[PARAMS];
  open_on(&all, options_of(QG_METHOD_QGALORE), 1, NULL);
  open_on(&some, options_of(QG_METHOD_QGALORE), 1, some_frozen());
  for (int i = 0; i < PARAMS; i++) squares[i] = -1.0;
  noise_gradients(&all, 0);
  noise_gradients(&some, 0);
  assert_ok(qg_optim_norms(all.optim, wanted));
  assert_ok(qg_optim_norms(some.optim, squares));
  for (int i = 0; i < PARAMS; i++) assert_true(squares[i] == (some.frozen[i] ? -1.0 : wanted[i]));
  fixture_close(&all);
  fixture_close(&some);
}

/* --- steps --- */

static void expect_learning(qg_optim_options options, int64_t micro_batches)
{
  fixture all, some;
  uint32_t fresh[PARAMS];
  open_on(&all, options, micro_batches, NULL);
  open_on(&some, options, micro_batches, some_frozen());
  for (int i = 0; i < PARAMS; i++) fresh[i] = param_digest(&some, param_at(&some, i), true);
  run_steps(&all, 0, STEPS);
  run_steps(&some, 0, STEPS);
  for (int i = 0; i < PARAMS; i++) {
    const qg_param *p = param_at(&some, i), *q = param_at(&all, i);
    assert_int_equal(param_digest(&some, p, true) == fresh[i], some.frozen[i]);
    if (some.frozen[i]) continue;
    if (param_digest(&some, p, false) != param_digest(&all, q, false)) fail_msg("%s differs", p->name);
  }
  fixture_close(&all);
  fixture_close(&some);
}

static void their_weights_stay_and_the_others_learn_the_same_bits(void **state)
{
  (void)state;
  expect_learning(busy_options(QG_METHOD_QGALORE), 1);
  expect_learning(busy_options(QG_METHOD_QGALORE), 2);
  expect_learning(busy_options(QG_METHOD_GALORE), 1);
  expect_learning(busy_options(QG_METHOD_ADAM8BIT), 2);
  expect_learning(busy_options(QG_METHOD_ADAMW), 1);
}

static void fused_updates_too(void **state)
{
  (void)state;
  qg_optim_options options = busy_options(QG_METHOD_QGALORE);
  options.fused = true;
  expect_learning(options, 1);
  options.method = QG_METHOD_ADAMW;
  expect_learning(options, 1);
}

/* The plan counts the matrices of the model, frozen ones too. */
static void staggered_refreshes_keep_their_steps(void **state)
{
  (void)state;
  qg_optim_options options = busy_options(QG_METHOD_QGALORE);
  options.stagger = true;
  options.update_gap = 3;
  expect_learning(options, 1);
  options.project_head = true;
  expect_learning(options, 1);
}

static void they_have_no_sink_and_no_tracker(void **state)
{
  (void)state;
  fixture f;
  open_on(&f, options_of(QG_METHOD_QGALORE), 1, some_frozen());
  noise_gradients(&f, 0);
  int projected = 0;
  for (int i = 0; i < PARAMS; i++) {
    const qg_param *p = param_at(&f, i);
    assert_int_equal(sink_of(&f, p).sink == NULL, f.frozen[i]);
    assert_int_equal(tracker_of(&f, p) == NULL, f.frozen[i] || !is_linear(p));
    projected += is_linear(p) && !f.frozen[i];
  }
  assert_int_equal(qg_optim_get_stats(f.optim).refreshes, projected);
  fixture_close(&f);
}

/* --- state --- */

static void expect_same_entry(const qg_state_entry *a, const qg_state_entry *b)
{
  assert_string_equal(a->dataset, b->dataset);
  assert_int_equal(a->type, b->type);
  assert_int_equal(a->items, b->items);
  assert_int_equal(a->item, b->item);
  assert_int_equal(a->elements, b->elements);
}

static bool belongs_to_frozen(const fixture *f, const qg_state_entry *entry)
{
  bool frozen = false;
  for (int i = 0; i < PARAMS; i++) frozen |= f->frozen[i] && belongs_to(entry, param_at(f, i));
  return frozen && !is_weight(entry);
}

static void their_state_is_the_weight_alone(void **state)
{
  (void)state;
  fixture all, some;
  open_on(&all, options_of(QG_METHOD_QGALORE), 1, NULL);
  open_on(&some, options_of(QG_METHOD_QGALORE), 1, some_frozen());
  int all_count, some_count, next = 0;
  const qg_state_entry *whole_list = entries_of(&all, &all_count), *list = entries_of(&some, &some_count);
  for (int i = 0; i < all_count; i++) {
    if (belongs_to_frozen(&some, &whole_list[i])) continue;
    assert_in_range(next, 0, some_count - 1);
    expect_same_entry(&list[next++], &whole_list[i]);
  }
  assert_int_equal(next, some_count);
  assert_true(some_count < all_count);
  fixture_close(&all);
  fixture_close(&some);
}

/* --- a model's own backward --- */

enum { LENGTH = 20 };

static void pass_once(fixture *f, qg_stage *stage)
{
  int32_t ids[TOKENS], targets[TOKENS];
  for (int i = 0; i < TOKENS; i++) ids[i] = i * 7 % 150, targets[i] = i * 11 % 150;
  const qg_weight_reader *weights = qg_weights_reader(f->trained.weights);
  const qg_gradient_port *gradients = qg_optim_port(f->optim);
  double *loss;
  qg_view out;
  assert_ok(qg_mem_alloc(f->mem, QG_OWNER_DATA, "loss", sizeof *loss, (void **)&loss));
  assert_ok(f->counter.ops.copy_in(f->be, f->x, ids, sizeof ids));
  assert_ok(f->counter.ops.copy_in(f->be, f->dy, targets, sizeof targets));
  assert_ok(qg_stage_forward(stage, weights, 0, (int32_t *)f->x, &out));
  assert_ok(qg_stage_loss(stage, weights, gradients, 0, (int32_t *)f->dy, 1.0f / TOKENS, loss));
  assert_ok(qg_stage_backward(stage, weights, gradients, 0, (int32_t *)f->x, (qg_view){0}, &out));
}

/* The squared norms of the gradients that a model hands out. */
static void model_norms(const bool *frozen, double *squares)
{
  fixture f;
  open_on(&f, options_of(QG_METHOD_QGALORE), 1, frozen);
  qg_stage_options options = {
      .micro_batch = TOKENS / LENGTH, .sequence_length = LENGTH, .logit_chunk_tokens = TOKENS, .slots = 1};
  qg_workload workload = qg_stage_workload(&f.shape, &options);
  qg_stage *stage;
  assert_ok(qg_backend_reserve(f.mem, f.counter.real, &workload));
  assert_ok(qg_stage_create(f.mem, f.be, &f.shape, &f.part, &options, &stage));
  assert_ok(qg_stage_init(stage));
  assert_ok(qg_optim_begin(f.optim, 0));
  pass_once(&f, stage);
  assert_ok(qg_optim_finish_gradients(f.optim));
  assert_ok(qg_optim_norms(f.optim, squares));
  qg_stage_destroy(stage);
  fixture_close(&f);
}

static void a_model_hands_out_the_same_gradients_of_the_others(void **state)
{
  (void)state;
  double all[PARAMS] = {0}, some[PARAMS] = {0};
  const bool *frozen = some_frozen();
  model_norms(NULL, all);
  model_norms(frozen, some);
  for (int i = 0; i < PARAMS; i++) {
    assert_true(all[i] > 0.0);
    assert_true(some[i] == (frozen[i] ? 0.0 : all[i]));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(they_have_no_gradient_moments_or_projector),
      cmocka_unit_test(a_model_that_is_all_frozen_has_weights_alone),
      cmocka_unit_test(their_gradients_are_taken_without_effect),
      cmocka_unit_test(a_vector_has_no_accumulator),
      cmocka_unit_test(a_gradient_that_is_not_finite_does_not_end_the_step),
      cmocka_unit_test(norms_leave_them_out),
      cmocka_unit_test(their_weights_stay_and_the_others_learn_the_same_bits),
      cmocka_unit_test(fused_updates_too),
      cmocka_unit_test(staggered_refreshes_keep_their_steps),
      cmocka_unit_test(they_have_no_sink_and_no_tracker),
      cmocka_unit_test(their_state_is_the_weight_alone),
      cmocka_unit_test(a_model_hands_out_the_same_gradients_of_the_others),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
