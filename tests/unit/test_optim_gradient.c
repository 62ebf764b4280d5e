/* Gradients in the low rank: the same as projecting the formed gradient, for half the FLOPs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_gradients.h"
#include "support/fixtures/tolerances.h"

enum { TOKENS = 40, MICRO_BATCHES = 3 };

/* G += dY^T X in double. */
static void add_outer(const fixture *f, const qg_param *p, int64_t step, int64_t micro_batch, double *g)
{
  int64_t m = p->rows, n = p->cols;
  float *dy = pair_half(f, p, step, micro_batch, 0), *x = pair_half(f, p, step, micro_batch, 1);
  for (int64_t t = 0; t < f->tokens; t++)
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < n; j++) g[i * n + j] += (double)dy[t * m + i] * (double)x[t * n + j];
  free(dy);
  free(x);
}

/* Right: R[i, k] = sum_j G[i, j] P[k, j]. Left: R[k, j] = sum_i P[i, k] G[i, j]. */
static double projected(const qg_param *p, const qg_sink_info *sink, const double *g, const float *basis,
                        int64_t row, int64_t col)
{
  int64_t m = p->rows, n = p->cols, r = sink->rank;
  double sum = 0.0;
  if (sink->side == QG_SIDE_RIGHT)
    for (int64_t j = 0; j < n; j++) sum += g[row * n + j] * (double)basis[col * n + j];
  else
    for (int64_t i = 0; i < m; i++) sum += (double)basis[i * r + row] * g[i * n + col];
  return sum;
}

/* The accumulator of a matrix against P applied to the sum of its micro-batches' dY^T X. */
static void assert_accumulated(const fixture *f, const qg_param *p, int64_t step)
{
  double *g = calloc((size_t)qg_param_elements(p), sizeof *g);
  assert_non_null(g);
  for (int64_t i = 0; i < f->micro_batches; i++) add_outer(f, p, step, i, g);
  qg_sink_info sink = sink_of(f, p);
  float *basis = basis_out(f, p), *grad = gradient_out(f, p);
  for (int64_t i = 0; i < sink.gradient.rows; i++)
    for (int64_t j = 0; j < sink.gradient.cols; j++) {
      double want = projected(p, &sink, g, basis, i, j), got = (double)grad[i * sink.gradient.cols + j];
      if (!QG_CLOSE(got, want, QG_TOL_F32_SUM))
        fail_msg("%s R[%d, %d] = %.9g, P G gives %.9g", p->name, (int)i, (int)j, got, want);
    }
  free(grad);
  free(basis);
  free(g);
}

static void assert_all_accumulated(fixture *f, int64_t step)
{
  noise_gradients(f, step);
  for (int id = 0; id < param_count(f); id++)
    if (is_projected(f, param_at(f, id))) assert_accumulated(f, param_at(f, id), step);
}

static void check_both_kinds_of_step(qg_optim_options options, int64_t micro_batches)
{
  fixture f;
  small_open(&f, options, TOKENS, micro_batches);
  assert_all_accumulated(&f, 0); /* every matrix refreshes */
  assert_int_equal(qg_optim_get_stats(f.optim).refreshes, 14);
  assert_all_accumulated(&f, 1); /* none does */
  assert_int_equal(qg_optim_get_stats(f.optim).refreshes, 0);
  fixture_close(&f);
}

static void low_rank_accumulation_equals_the_projected_gradient(void **state)
{
  (void)state;
  check_both_kinds_of_step(options_of(QG_METHOD_QGALORE), MICRO_BATCHES);
  check_both_kinds_of_step(options_of(QG_METHOD_QGALORE), 1);
  check_both_kinds_of_step(options_of(QG_METHOD_GALORE), MICRO_BATCHES);
}

static void a_refresh_from_the_first_micro_batch_projects_the_later_ones_too(void **state)
{
  (void)state;
  qg_optim_options options = options_of(QG_METHOD_QGALORE);
  options.sample = QG_SAMPLE_MICRO_BATCH;
  check_both_kinds_of_step(options, MICRO_BATCHES);
}

static void forming_the_gradient_first_gives_the_same_sum(void **state)
{
  (void)state;
  qg_optim_options options = options_of(QG_METHOD_QGALORE);
  options.full_gradient = true;
  check_both_kinds_of_step(options, MICRO_BATCHES);
  check_both_kinds_of_step(options, 1);
  options.sample = QG_SAMPLE_MICRO_BATCH;
  check_both_kinds_of_step(options, MICRO_BATCHES);
}

static void both_sides_of_projection_are_covered(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_QGALORE), TOKENS, 1);
  assert_int_equal(sink_of(&f, param_of(&f, QG_ROLE_Q, 0)).side, QG_SIDE_RIGHT);
  assert_int_equal(sink_of(&f, param_of(&f, QG_ROLE_UP, 0)).side, QG_SIDE_RIGHT);
  assert_int_equal(sink_of(&f, param_of(&f, QG_ROLE_DOWN, 0)).side, QG_SIDE_LEFT);
  assert_int_equal(sink_of(&f, param_of(&f, QG_ROLE_K, 0)).side, QG_SIDE_LEFT); /* fewer key heads */
  fixture_close(&f);
}

static void a_rank_above_a_narrow_matrix_is_its_width(void **state)
{
  (void)state;
  qg_optim_options options = options_of(QG_METHOD_QGALORE);
  options.rank = 64;
  fixture f;
  small_open(&f, options, TOKENS, 1);
  assert_int_equal(sink_of(&f, param_of(&f, QG_ROLE_Q, 0)).rank, 64);
  assert_int_equal(sink_of(&f, param_of(&f, QG_ROLE_K, 0)).rank, 48);
  assert_all_accumulated(&f, 0);
  fixture_close(&f);
}

/* FLOPs of one gradient of a matrix at a step. */
static int64_t gradient_flops(qg_optim_options options, qg_role role, int64_t step)
{
  fixture f;
  small_open(&f, options, TOKENS, 1);
  const qg_param *p = param_of(&f, role, 0);
  noise_step(&f, 0, 0.01);
  assert_ok(qg_optim_begin(f.optim, step));
  f.counter.flops = 0;
  send_noise_matrix(&f, p, step, 0);
  int64_t flops = f.counter.flops;
  fixture_close(&f);
  return flops;
}

/* 2 t r (m + n) in place of 2 t m n: for m = n and r = n / 4 one half. */
static void the_low_rank_gradient_of_a_square_matrix_costs_half(void **state)
{
  (void)state;
  int64_t n = 96, r = 24;
  int64_t dense = gradient_flops(options_of(QG_METHOD_ADAMW), QG_ROLE_Q, 1);
  int64_t low = gradient_flops(options_of(QG_METHOD_QGALORE), QG_ROLE_Q, 1);
  assert_int_equal(dense, 2 * TOKENS * n * n);
  assert_int_equal(low, 2 * TOKENS * r * (n + n));
  assert_int_equal(2 * low, dense);
}

static void the_mlp_matrices_save_more_than_the_square_ones(void **state)
{
  (void)state;
  int64_t m = 288, n = 96, r = 24;
  int64_t dense = gradient_flops(options_of(QG_METHOD_ADAMW), QG_ROLE_GATE, 1);
  assert_int_equal(dense, 2 * TOKENS * m * n);
  assert_int_equal(gradient_flops(options_of(QG_METHOD_QGALORE), QG_ROLE_GATE, 1), 2 * TOKENS * r * (m + n));
  assert_int_equal(gradient_flops(options_of(QG_METHOD_QGALORE), QG_ROLE_DOWN, 1), 2 * TOKENS * r * (m + n));
  assert_int_equal(3 * gradient_flops(options_of(QG_METHOD_QGALORE), QG_ROLE_DOWN, 1), dense);
}

static void the_reference_route_forms_the_gradient_every_step(void **state)
{
  (void)state;
  qg_optim_options options = options_of(QG_METHOD_QGALORE);
  options.full_gradient = true;
  assert_int_equal(gradient_flops(options, QG_ROLE_Q, 1), 2 * TOKENS * 96 * 96 + 2 * 96 * 96 * 24);
}

/* At a refresh G is formed once and projected once; the solver's own work is on the host. */
static void a_refresh_forms_the_gradient_once(void **state)
{
  (void)state;
  assert_int_equal(gradient_flops(options_of(QG_METHOD_QGALORE), QG_ROLE_Q, 10),
                   2 * TOKENS * 96 * 96 + 2 * 96 * 96 * 24);
}

static float *embedding_gradient(bool tied, int64_t micro_batches, double *squares)
{
  fixture f = {.shape = small_shape(), .options = options_of(QG_METHOD_ADAMW)};
  f.shape.tie_embeddings = tied;
  qg_partition part = whole(&f.shape);
  double *sums = calloc((size_t)qg_model_param_count(&f.shape), sizeof *sums);
  assert_non_null(sums);
  fixture_open(&f, &part, "fp32", TOKENS, micro_batches);
  noise_gradients(&f, 0);
  assert_ok(qg_optim_norms(f.optim, sums));
  assert_ok(qg_optim_norms(f.optim, sums)); /* asking twice changes nothing */
  *squares = sums[0];
  const qg_param *p = param_of(&f, QG_ROLE_EMBED, -1);
  float *grad = gradient_out(&f, p);
  free(sums);
  fixture_close(&f);
  return grad;
}

/* Rows of the lookup plus dY^T X of the head, once. */
static void a_tied_embedding_sees_lookup_and_head(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_ADAMW), TOKENS, MICRO_BATCHES);
  const qg_param *table = param_of(&f, QG_ROLE_EMBED, -1);
  int64_t elements = qg_param_elements(table);
  double squares, untied_squares, *g = calloc((size_t)elements, sizeof *g), sum = 0.0;
  assert_non_null(g);
  for (int64_t i = 0; i < MICRO_BATCHES; i++) add_outer(&f, table, 0, i, g);
  float *tied = embedding_gradient(true, MICRO_BATCHES, &squares);
  float *untied = embedding_gradient(false, MICRO_BATCHES, &untied_squares);
  for (int64_t i = 0; i < elements; i++) {
    double want = g[i] + (double)untied[i];
    assert_true(QG_CLOSE(tied[i], want, QG_TOL_F32_SUM));
    sum += want * want;
  }
  assert_true(QG_CLOSE(squares, sum, QG_TOL_F32_SUM));
  free(g);
  free(tied);
  free(untied);
  fixture_close(&f);
}

static void norms_are_those_of_what_adam_sees(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_QGALORE), TOKENS, 1);
  double *sums = calloc((size_t)param_count(&f), sizeof *sums);
  assert_non_null(sums);
  noise_gradients(&f, 0);
  assert_ok(qg_optim_norms(f.optim, sums));
  for (int id = 0; id < param_count(&f); id++) {
    const qg_param *p = param_at(&f, id);
    float *grad = gradient_out(&f, p);
    double want = 0.0;
    for (int64_t i = 0; i < gradient_elements(&f, p); i++) want += (double)grad[i] * (double)grad[i];
    assert_true(QG_CLOSE(sums[id], want, QG_TOL_F32_SUM));
    free(grad);
  }
  free(sums);
  fixture_close(&f);
}

/* dY = u a^T, X = u b^T: G has the one direction b, wherever its sign points. */
static void send_direction(fixture *f, const qg_param *p, uint64_t direction, float sign)
{
  float *dy = noise_matrix(1, TOKENS, p->rows), *x = noise_matrix(2, TOKENS, p->cols);
  for (int64_t t = 0; t < TOKENS; t++) {
    for (int64_t i = 0; i < p->rows; i++) dy[t * p->rows + i] = sign * noise(3, (uint64_t)i);
    for (int64_t j = 0; j < p->cols; j++) x[t * p->cols + j] = noise(direction, (uint64_t)j);
  }
  assert_ok(send_matrix(f, p, TOKENS, dy, x));
  free(dy);
  free(x);
}

/* The interval of a rank-1 right projector after refreshes at steps 0, 1, ..., 5 from G of the given
 * directions. */
static int64_t interval_after(qg_similarity similarity, bool rotates, bool flips)
{
  qg_optim_options options = options_of(QG_METHOD_QGALORE);
  options.rank = 1;
  options.update_gap = 1;
  options.projector_bits = 32;
  options.similarity = similarity;
  fixture f;
  small_open(&f, options, TOKENS, 1);
  const qg_param *p = param_of(&f, QG_ROLE_Q, 0);
  for (int64_t step = 0; step < 6; step++) {
    assert_ok(qg_optim_begin(f.optim, step));
    send_direction(&f, p, rotates ? 100 + (uint64_t)step : 100, flips && step % 2 ? -1.0f : 1.0f);
    assert_ok(qg_optim_finish_gradients(f.optim));
  }
  int64_t interval = tracker_of(&f, p)->interval;
  fixture_close(&f);
  return interval;
}

static void a_subspace_that_stays_doubles_its_interval(void **state)
{
  (void)state;
  assert_int_equal(interval_after(QG_SIMILARITY_OVERLAP, false, false), 2);
}

static void a_rotating_subspace_never_does(void **state)
{
  (void)state;
  assert_int_equal(interval_after(QG_SIMILARITY_OVERLAP, true, false), 1);
}

static void a_gradient_that_flips_its_sign_keeps_its_subspace(void **state)
{
  (void)state;
  assert_int_equal(interval_after(QG_SIMILARITY_OVERLAP, false, true), 2);
}

static void a_failed_refresh_keeps_the_old_subspace(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_QGALORE), TOKENS, 1);
  const qg_param *p = param_of(&f, QG_ROLE_Q, 0);
  noise_step(&f, 0, 0.01);
  float *before = basis_out(&f, p), *dy = pair_half(&f, p, 10, 0, 0), *x = pair_half(&f, p, 10, 0, 1);
  dy[5] = NAN;
  assert_ok(qg_optim_begin(f.optim, 10));
  assert_ok(send_matrix(&f, p, TOKENS, dy, x));
  float *after = basis_out(&f, p);
  assert_memory_equal(before, after, (size_t)basis_elements(&f, p) * sizeof *before);
  assert_int_equal(qg_optim_get_stats(f.optim).failed_refreshes, 1);
  assert_int_equal(tracker_of(&f, p)->refreshes, 1);
  free(before);
  free(after);
  free(dy);
  free(x);
  fixture_close(&f);
}

/* There is no subspace to project on, so nothing moves; the next step tries again. */
static void a_first_refresh_that_fails_waits_for_a_better_gradient(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_QGALORE), TOKENS, 1);
  const qg_param *p = param_of(&f, QG_ROLE_Q, 0);
  float *dy = pair_half(&f, p, 0, 0, 0), *x = pair_half(&f, p, 0, 0, 1);
  float *before = weight_out(&f, p);
  dy[5] = NAN;
  assert_ok(qg_optim_begin(f.optim, 0));
  assert_ok(send_matrix(&f, p, TOKENS, dy, x));
  assert_ok(qg_optim_finish_gradients(f.optim));
  assert_ok(qg_optim_apply(f.optim, 0.01, 1.0));
  float *after = weight_out(&f, p);
  assert_memory_equal(before, after, (size_t)qg_param_elements(p) * sizeof *before);
  assert_int_equal(qg_optim_get_stats(f.optim).failed, 1);
  assert_ok(qg_optim_begin(f.optim, 1));
  send_noise_matrix(&f, p, 1, 0);
  assert_int_equal(qg_optim_get_stats(f.optim).refreshes, 1);
  free(before);
  free(after);
  free(dy);
  free(x);
  fixture_close(&f);
}

static void pairs_that_do_not_fit_are_refused(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, options_of(QG_METHOD_QGALORE), TOKENS, 2);
  const qg_gradient_port *port = qg_optim_port(f.optim);
  qg_view rows = qg_view_make(f.dy, QG_F32, TOKENS, 96), more = qg_view_make(f.dy, QG_F32, TOKENS + 1, 96);
  int q = index_of(&f, param_of(&f, QG_ROLE_Q, 0));
  assert_int_equal(port->add_matrix(port->impl, q, qg_view_make(f.dy, QG_F32, TOKENS, 95), rows),
                   QG_ERR_RUNTIME);
  assert_int_equal(port->add_matrix(port->impl, q, more, more), QG_ERR_RUNTIME);
  assert_int_equal(port->add_matrix(port->impl, param_count(&f), rows, rows), QG_ERR_RUNTIME);
  assert_int_equal(qg_optim_end_micro_batch(f.optim, 2), QG_ERR_RUNTIME);
  fixture_close(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(low_rank_accumulation_equals_the_projected_gradient),
      cmocka_unit_test(a_refresh_from_the_first_micro_batch_projects_the_later_ones_too),
      cmocka_unit_test(forming_the_gradient_first_gives_the_same_sum),
      cmocka_unit_test(both_sides_of_projection_are_covered),
      cmocka_unit_test(a_rank_above_a_narrow_matrix_is_its_width),
      cmocka_unit_test(the_low_rank_gradient_of_a_square_matrix_costs_half),
      cmocka_unit_test(the_mlp_matrices_save_more_than_the_square_ones),
      cmocka_unit_test(the_reference_route_forms_the_gradient_every_step),
      cmocka_unit_test(a_refresh_forms_the_gradient_once),
      cmocka_unit_test(a_tied_embedding_sees_lookup_and_head),
      cmocka_unit_test(norms_are_those_of_what_adam_sees),
      cmocka_unit_test(a_subspace_that_stays_doubles_its_interval),
      cmocka_unit_test(a_rotating_subspace_never_does),
      cmocka_unit_test(a_gradient_that_flips_its_sign_keeps_its_subspace),
      cmocka_unit_test(a_failed_refresh_keeps_the_old_subspace),
      cmocka_unit_test(a_first_refresh_that_fails_waits_for_a_better_gradient),
      cmocka_unit_test(pairs_that_do_not_fit_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
