/* Projected embedding and output head, and gradients that add up in bf16. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_gradients.h"
#include "support/fixtures/tolerances.h"

enum { TOKENS = 40, MICRO_BATCHES = 2 };

static qg_optim_options projecting_head(void)
{
  qg_optim_options options = options_of(QG_METHOD_QGALORE);
  options.project_head = true;
  options.projector_bits = 32;
  return options;
}

/* Row ids[i] of G gains row i of dX (embedding); the head's G is dY^T X. In double. */
static double *full_gradient(const fixture *f, const qg_param *p, int64_t step)
{
  int64_t n = p->cols;
  double *g = calloc((size_t)qg_param_elements(p), sizeof *g);
  assert_non_null(g);
  for (int64_t b = 0; b < MICRO_BATCHES; b++) {
    float *dy = pair_half(f, p, step, b, 0), *x = pair_half(f, p, step, b, 1);
    for (int64_t t = 0; t < TOKENS; t++)
      for (int64_t j = 0; j < n; j++) {
        double value = (double)x[t * n + j];
        if (p->looked_up) g[t % f->shape.vocab_size * n + j] += value;
        else
          for (int64_t i = 0; i < p->rows; i++) g[i * n + j] += (double)dy[t * p->rows + i] * value;
      }
    free(dy);
    free(x);
  }
  return g;
}

/* R = G P^T: both tables are taller than wide. */
static void expect_projected(const fixture *f, const qg_param *p, int64_t step)
{
  int64_t n = p->cols, rank = sink_of(f, p).rank;
  double *g = full_gradient(f, p, step);
  float *basis = basis_out(f, p);
  float *grad = gradient_out(f, p);
  for (int64_t i = 0; i < p->rows; i++)
    for (int64_t k = 0; k < rank; k++) {
      double want = 0.0;
      for (int64_t j = 0; j < n; j++) want += g[i * n + j] * (double)basis[k * n + j];
      assert_true(QG_CLOSE(grad[i * rank + k], want, QG_TOL_F32_SUM));
    }
  free(g);
  free(basis);
  free(grad);
}

static void tables_project_the_gradient_of_the_whole_batch(void **state)
{
  (void)state;
  static const qg_role tables[] = {QG_ROLE_EMBED, QG_ROLE_HEAD};
  fixture f;
  small_open(&f, projecting_head(), TOKENS, MICRO_BATCHES);
  for (int64_t step = 0; step < 2; step++) { /* a refresh, then none */
    noise_gradients(&f, step);
    for (int i = 0; i < 2; i++) expect_projected(&f, param_of(&f, tables[i], -1), step);
  }
  assert_int_equal(qg_optim_tracker(f.optim, 0)->refreshes, 1);
  fixture_close(&f);
}

static void their_weights_stay_dense_and_learn(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, projecting_head(), TOKENS, 1);
  const qg_param *p = param_of(&f, QG_ROLE_HEAD, -1);
  assert_false(is_int8(&f, p));
  assert_int_equal(sink_of(&f, p).gradient.cols, 24);
  float *before = weight_out(&f, p);
  noise_step(&f, 0, 0.01);
  float *after = weight_out(&f, p);
  double moved = 0.0;
  for (int64_t i = 0; i < qg_param_elements(p); i++)
    moved = fmax(moved, fabs((double)after[i] - (double)before[i]));
  assert_true(moved > 1e-4 && moved < 0.1);
  free(before);
  free(after);
  fixture_close(&f);
}

/* The head's gradient comes in blocks of rows: a refresh from its first block would see a part of the tokens.
 */
static void a_head_in_blocks_refreshes_from_all_of_them(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, projecting_head(), TOKENS, 1);
  const qg_param *p = param_of(&f, QG_ROLE_HEAD, -1);
  assert_ok(qg_optim_begin(f.optim, 0));
  float *dy = pair_half(&f, p, 0, 0, 0), *x = pair_half(&f, p, 0, 0, 1);
  int64_t half = TOKENS / 2;
  assert_ok(send_matrix(&f, p, half, dy, x));
  assert_int_equal(qg_optim_get_stats(f.optim).refreshes, 0);
  assert_ok(send_matrix(&f, p, half, dy + half * p->rows, x + half * p->cols));
  assert_ok(qg_optim_finish_gradients(f.optim));
  assert_int_equal(tracker_of(&f, p)->refreshes, 1);
  free(dy);
  free(x);
  fixture_close(&f);
}

static void open_bf16(fixture *f, qg_dtype accumulators)
{
  *f = (fixture){.shape = small_shape(), .options = options_of(QG_METHOD_QGALORE)};
  f->options.accumulators = accumulators;
  qg_partition part = whole(&f->shape);
  fixture_open(f, &part, "bf16", TOKENS, MICRO_BATCHES);
  qg_stage_options options = {.micro_batch = 1, .sequence_length = TOKENS, .logit_chunk_tokens = TOKENS};
  qg_workload workload = qg_stage_workload(&f->shape, &options);
  assert_ok(qg_backend_reserve(f->mem, f->counter.real, &workload));
}

static qg_view in_bf16(fixture *f, float *device, const float *host, int64_t cols)
{
  uint16_t *halves = malloc((size_t)(TOKENS * cols) * sizeof *halves);
  assert_non_null(halves);
  for (int64_t i = 0; i < TOKENS * cols; i++) halves[i] = qg_bf16_from_float(host[i]);
  assert_ok(f->counter.ops.copy_in(f->be, device, halves, (size_t)(TOKENS * cols) * sizeof *halves));
  free(halves);
  return qg_view_make(device, QG_BF16, TOKENS, cols);
}

/* R of one matrix after the micro-batches of a step, as floats. */
static float *accumulated(fixture *f, const qg_param *p)
{
  const qg_gradient_port *port = qg_optim_port(f->optim);
  int64_t count = gradient_elements(f, p);
  float *out = malloc((size_t)count * sizeof *out);
  assert_non_null(out);
  assert_ok(qg_optim_begin(f->optim, 0));
  for (int64_t b = 0; b < MICRO_BATCHES; b++) {
    float *dy = pair_half(f, p, 0, b, 0), *x = pair_half(f, p, 0, b, 1);
    assert_ok(port->add_matrix(port->impl, index_of(f, p), in_bf16(f, f->dy, dy, p->rows),
                               in_bf16(f, f->x, x, p->cols)));
    free(dy);
    free(x);
  }
  assert_ok(qg_optim_finish_gradients(f->optim));
  qg_view gradient = sink_of(f, p).gradient;
  qg_view floats = qg_view_make(f->x, QG_F32, gradient.rows, gradient.cols);
  assert_ok(f->counter.ops.convert(f->be, floats, gradient));
  assert_ok(f->counter.ops.copy_out(f->be, out, f->x, (size_t)count * sizeof *out));
  return out;
}

/* bf16 accumulators differ from fp32 ones by their rounding, and take half the memory. */
static void accumulators_may_be_bf16(void **state)
{
  (void)state;
  fixture wide, narrow;
  open_bf16(&wide, QG_F32);
  open_bf16(&narrow, QG_BF16);
  const qg_param *p = param_of(&wide, QG_ROLE_Q, 0), *q = param_of(&narrow, QG_ROLE_Q, 0);
  assert_int_equal(sink_of(&narrow, q).gradient.type, QG_BF16);
  assert_int_equal(sink_of(&narrow, param_of(&narrow, QG_ROLE_MLP_NORM, 0)).gradient.type, QG_F32);
  float *exact = accumulated(&wide, p), *rounded = accumulated(&narrow, q);
  for (int64_t i = 0; i < gradient_elements(&wide, p); i++)
    assert_true(QG_CLOSE(rounded[i], exact[i], QG_TOL_BF16_ROUND));
  size_t halved = qg_mem_bytes(narrow.mem, QG_OWNER_GRADIENTS),
         whole_size = qg_mem_bytes(wide.mem, QG_OWNER_GRADIENTS);
  int64_t matrices = 0;
  for (int id = 0; id < param_count(&wide); id++)
    if (!qg_param_is_vector(param_at(&wide, id))) matrices += gradient_elements(&wide, param_at(&wide, id));
  assert_int_equal(whole_size - halved, 2 * matrices);
  assert_ok(qg_optim_apply(narrow.optim, 0.01, 1.0));
  free(exact);
  free(rounded);
  fixture_close(&wide);
  fixture_close(&narrow);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tables_project_the_gradient_of_the_whole_batch),
      cmocka_unit_test(their_weights_stay_dense_and_learn),
      cmocka_unit_test(a_head_in_blocks_refreshes_from_all_of_them),
      cmocka_unit_test(accumulators_may_be_bf16),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
