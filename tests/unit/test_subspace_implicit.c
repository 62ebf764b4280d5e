/* Subspaces of a gradient that is not formed: from dY and X alone, as good as from G = dY^T X. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linalg/implicit_gradient.h"
#include "qgalore/base.h"
#include "qgalore/linalg.h"
#include "qgalore/numerics/bf16.h"
#include "qgalore/numerics/philox.h"
#include "support/fixtures/tolerances.h"

/* As narrow as implicit gradients are used, as few tokens and directions as tell something. */
enum { SHORT = 2048, LONG = 2304, TOKENS = 48, RANK = 12 };

typedef struct {
  qg_backend *be;
  int64_t m, n;
  void *dy, *x; /* compute type, on the host too: memory is unified */
  float *g;     /* [m, n] of the rounded factors */
  qg_implicit_gradient implicit;
  qg_subspace_job job;
  void *workspace; /* of the backend */
} fixture;

static float noise(uint64_t seed, int64_t i)
{
  qg_rng rng = {.seed = seed, .purpose = QG_RNG_SYNTHETIC};
  return qg_rng_unit_at(rng, (uint64_t)i) - 0.5f;
}

static void *take(size_t bytes)
{
  void *memory = calloc(1, bytes);
  assert_non_null(memory);
  return memory;
}

/* Factor [TOKENS, cols]: token t weighs 0.8^t, so that the spectrum falls. */
static void *make_factor(const qg_backend *be, uint64_t seed, int64_t cols)
{
  void *factor = take((size_t)(TOKENS * cols) * sizeof(float));
  for (int64_t i = 0; i < TOKENS * cols; i++) {
    float value = noise(seed, i) * powf(0.8f, (float)(i / cols));
    if (be->compute == QG_F32) ((float *)factor)[i] = value;
    else
      ((uint16_t *)factor)[i] = qg_bf16_from_float(value);
  }
  return factor;
}

static double at(const fixture *f, const void *factor, int64_t i)
{
  return f->be->compute == QG_F32 ? (double)((const float *)factor)[i]
                                  : (double)qg_bf16_to_float(((const uint16_t *)factor)[i]);
}

static void form(fixture *f)
{
  for (int64_t t = 0; t < TOKENS; t++)
    for (int64_t i = 0; i < f->m; i++) {
      float left = (float)at(f, f->dy, t * f->m + i);
      for (int64_t j = 0; j < f->n; j++) f->g[i * f->n + j] += left * (float)at(f, f->x, t * f->n + j);
    }
}

static void lend_workspace(fixture *f)
{
  int64_t widest = qg_max_i64(f->m, f->n);
  qg_workload workload = {.tokens = TOKENS,
                          .sequence_length = 1,
                          .hidden_size = widest,
                          .intermediate_size = widest,
                          .num_heads = 1,
                          .num_kv_heads = 1,
                          .vocab_size = widest,
                          .logit_chunk_tokens = 1};
  size_t bytes = f->be->ops->workspace_bytes(f->be, &workload);
  assert_int_equal(f->be->ops->alloc(f->be, bytes, &f->workspace), QG_OK);
  f->be->ops->set_workspace(f->be, f->workspace, bytes);
}

static void open_fixture(fixture *f, const char *precision, int64_t m, int64_t n)
{
  qg_backend_request request = {.name = "cpu", .precision = precision, .threads = 1};
  *f = (fixture){.m = m, .n = n};
  assert_int_equal(qg_backend_open(&request, &f->be), QG_OK);
  lend_workspace(f);
  int64_t count = qg_subspace_directions(RANK, qg_min_i64(m, n));
  f->dy = make_factor(f->be, 1, m);
  f->x = make_factor(f->be, 2, n);
  f->g = take((size_t)(m * n) * sizeof *f->g);
  form(f);
  f->implicit = (qg_implicit_gradient){.be = f->be,
                                       .dy = qg_view_make(f->dy, f->be->compute, TOKENS, m),
                                       .x = qg_view_make(f->x, f->be->compute, TOKENS, n),
                                       .block = take((size_t)(count * qg_max_i64(m, n)) * sizeof(float)),
                                       .tokens = take((size_t)(TOKENS * count) * sizeof(float))};
  f->job = (qg_subspace_job){.m = m,
                             .n = n,
                             .rank = RANK,
                             .implicit = &f->implicit,
                             .basis = take((size_t)(RANK * qg_min_i64(m, n)) * sizeof(float)),
                             .singular_values = take(RANK * sizeof(float)),
                             .seed = 3};
}

static void close_fixture(fixture *f)
{
  free(f->implicit.block);
  free(f->implicit.tokens);
  free(f->job.basis);
  free(f->job.singular_values);
  free(f->g);
  free(f->dy);
  free(f->x);
  f->be->ops->release(f->be, f->workspace, 0);
  qg_backend_close(f->be);
}

static void solve(qg_subspace_job *job)
{
  qg_subspace_options options = {.method = QG_SUBSPACE_AUTO, .min_energy_ratio = 0.99, .threads = 2};
  size_t bytes = qg_subspace_workspace(&options, job, 1);
  void *workspace = take(bytes);
  assert_int_equal(qg_subspace_solve(&options, job, 1, workspace, bytes), QG_OK);
  free(workspace);
}

static double norm2(int64_t count, const float *x)
{
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)x[i];
  return sum;
}

/* ||G P^T||^2 or ||P^T G||^2 of the result. */
static double captured(const fixture *f)
{
  double sum = 0;
  bool right = f->m >= f->n;
  int64_t length = right ? f->m : f->n, d = right ? f->n : f->m;
  for (int64_t k = 0; k < RANK; k++)
    for (int64_t i = 0; i < length; i++) {
      double dot = 0;
      for (int64_t j = 0; j < d; j++)
        dot += right ? (double)f->g[i * d + j] * (double)f->job.basis[k * d + j]
                     : (double)f->g[j * length + i] * (double)f->job.basis[j * RANK + k];
      sum += dot * dot;
    }
  return sum;
}

/* The same job from the formed gradient. */
static double energy_when_formed(const fixture *f)
{
  qg_subspace_job job = f->job;
  job.implicit = NULL;
  job.gradient = f->g;
  job.basis = take((size_t)(RANK * qg_min_i64(f->m, f->n)) * sizeof(float));
  solve(&job);
  free(job.basis);
  return job.energy;
}

static void check(const char *precision, int64_t m, int64_t n, double tolerance)
{
  fixture f;
  open_fixture(&f, precision, m, n);
  solve(&f.job);
  assert_int_equal(f.job.status, QG_OK);
  assert_int_equal(f.job.used, QG_SUBSPACE_RANDOMIZED);
  double all = norm2(m * n, f.g);
  assert_true(QG_CLOSE(f.job.energy, captured(&f) / all, tolerance));
  assert_true(QG_CLOSE(f.job.energy, energy_when_formed(&f), tolerance));
  float *previous = f.job.basis;
  f.job.previous = previous;
  f.job.basis = take((size_t)(RANK * qg_min_i64(m, n)) * sizeof(float));
  solve(&f.job);
  assert_int_equal(f.job.used, QG_SUBSPACE_WARM);
  assert_true(QG_CLOSE(f.job.energy, captured(&f) / all, tolerance));
  free(previous);
  close_fixture(&f);
}

static void both_sides_in_fp32(void **state)
{
  (void)state;
  check("fp32", LONG, SHORT, QG_TOL_F32_SUM);
  check("fp32", SHORT, LONG, QG_TOL_F32_SUM);
}

static void both_sides_in_bf16(void **state)
{
  (void)state;
  check("bf16", LONG, SHORT, QG_TOL_BF16_ROUND);
  check("bf16", SHORT, LONG, QG_TOL_BF16_ROUND);
}

static void the_norm_needs_no_gradient(void **state)
{
  (void)state;
  fixture f;
  double value;
  open_fixture(&f, "fp32", LONG, SHORT);
  char *memory = take(qg_implicit_norm_bytes(TOKENS) + QG_SCRATCH_ALIGN);
  qg_scratch scratch = {.base = qg_scratch_align(memory)};
  assert_int_equal(qg_implicit_norm2(&f.implicit, scratch, &value), QG_OK);
  assert_true(QG_CLOSE(value / norm2(f.m * f.n, f.g), 1.0, QG_TOL_F32_SUM));
  free(memory);
  close_fixture(&f);
}

static void a_factor_that_is_not_finite_is_refused(void **state)
{
  (void)state;
  fixture f;
  open_fixture(&f, "fp32", LONG, SHORT);
  ((float *)f.x)[77] = NAN;
  solve(&f.job);
  assert_int_equal(f.job.status, QG_ERR_NUMERICAL);
  close_fixture(&f);
}

/* 7B: 16 x 256 tokens form the square matrices, 1 x 256 tokens none; a small model never uses pairs. */
static void pairs_are_preferred_where_they_are_cheaper(void **state)
{
  (void)state;
  assert_true(qg_subspace_prefers_implicit(QG_SUBSPACE_AUTO, 4096, 4096, 256));
  assert_true(qg_subspace_prefers_implicit(QG_SUBSPACE_AUTO, 11008, 4096, 2048));
  assert_false(qg_subspace_prefers_implicit(QG_SUBSPACE_AUTO, 4096, 4096, 4096));
  assert_false(qg_subspace_prefers_implicit(QG_SUBSPACE_AUTO, 512, 512, 16));
  assert_false(qg_subspace_prefers_implicit(QG_SUBSPACE_WARM, 4096, 4096, 256));
}

/* What a matrix of 7B asks of memory: nothing near the 24 d^2 of an eigenproblem. */
static void wide_matrices_ask_for_no_eigenproblem(void **state)
{
  (void)state;
  qg_implicit_gradient implicit = {.dy = {.rows = 256}, .x = {.rows = 256}};
  qg_subspace_job job = {.m = 4096, .n = 4096, .rank = 1024, .implicit = &implicit};
  qg_subspace_options options = {.method = QG_SUBSPACE_AUTO, .threads = 2};
  assert_true(qg_subspace_workspace(&options, &job, 1) < (size_t)8 * 4096 * 4096);
  options.method = QG_SUBSPACE_EXACT;
  assert_true(qg_subspace_workspace(&options, &job, 1) > (size_t)20 * 4096 * 4096);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(both_sides_in_fp32),
      cmocka_unit_test(both_sides_in_bf16),
      cmocka_unit_test(the_norm_needs_no_gradient),
      cmocka_unit_test(a_factor_that_is_not_finite_is_refused),
      cmocka_unit_test(pairs_are_preferred_where_they_are_cheaper),
      cmocka_unit_test(wide_matrices_ask_for_no_eigenproblem),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
