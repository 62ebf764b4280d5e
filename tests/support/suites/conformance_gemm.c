/* GEMM: every type, layout, stride and scaling that the contract allows. */
#include "support/suites/conformance_tests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "support/fixtures/tolerances.h"

typedef struct {
  int64_t m, n, k;
} gemm_shape;

typedef struct {
  float alpha, beta;
} gemm_scaling;

static double operand(array a, bool transposed, int64_t i, int64_t j)
{
  return transposed ? a.value[j * a.view.cols + i] : a.value[i * a.view.cols + j];
}

static double *expected_product(conformance *c, const qg_gemm_args *g, array a, array b, array before)
{
  int64_t m = g->c.rows, n = g->c.cols, k = g->trans_a ? g->a.rows : g->a.cols;
  double *want = host_bytes(c, (size_t)(m * n) * sizeof *want);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = 0.0;
      for (int64_t p = 0; p < k; p++) sum += operand(a, g->trans_a, i, p) * operand(b, g->trans_b, p, j);
      want[i * n + j] =
          (double)g->alpha * sum + (g->beta == 0.0f ? 0.0 : (double)g->beta * before.value[i * n + j]);
    }
  return want;
}

static void check_product(conformance *c, gemm_shape s, qg_dtype in, qg_dtype out, int layout,
                          gemm_scaling scaling)
{
  bool ta = layout & 1, tb = layout & 2;
  array a = random_array(c, in, ta ? s.k : s.m, ta ? s.m : s.k, 3, 1, 1.0);
  array b = random_array(c, in, tb ? s.n : s.k, tb ? s.k : s.n, 5, 2, 1.0);
  array d = scaling.beta == 0.0f ? constant_array(c, out, s.m, s.n, 7, (double)NAN)
                                 : random_array(c, out, s.m, s.n, 7, 3, 1.0);
  qg_gemm_args args = {.a = a.view,
                       .b = b.view,
                       .c = d.view,
                       .trans_a = ta,
                       .trans_b = tb,
                       .alpha = scaling.alpha,
                       .beta = scaling.beta};
  double *want = expected_product(c, &args, a, b, d);
  expect_ok(c->be->ops->gemm(c->be, &args));
  expect_close(c, "gemm", d.view, want, tolerance_of(out));
  conformance_end(c);
}

static void check_types_and_layouts(conformance *c, gemm_shape shape, gemm_scaling scaling)
{
  static const qg_dtype types[] = {QG_F32, QG_BF16};
  for (int in = 0; in < 2; in++)
    for (int out = 0; out < 2; out++)
      for (int layout = 0; layout < 4; layout++)
        check_product(c, shape, types[in], types[out], layout, scaling);
}

void gemm_multiplies_every_layout_and_type(void **state)
{
  static const gemm_shape shapes[] = {{1, 1, 1},    {3, 5, 7},   {17, 33, 65}, {64, 64, 64},
                                      {1, 70, 129}, {130, 1, 3}, {300, 70, 40}};
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
    check_types_and_layouts(*state, shapes[i], (gemm_scaling){1.0f, 0.0f});
}

void gemm_accumulates_and_scales(void **state)
{
  static const gemm_scaling scalings[] = {{1.0f, 1.0f}, {0.25f, 0.5f}, {-2.0f, 0.0f}};
  for (size_t i = 0; i < sizeof scalings / sizeof scalings[0]; i++)
    check_types_and_layouts(*state, (gemm_shape){67, 45, 34}, scalings[i]);
}

/* All but the first column of A and C and the first row of B: none begins where memory does. */
void gemm_takes_operands_at_any_address(void **state)
{
  conformance *c = *state;
  enum { M = 17, N = 9, K = 33 };
  array a = random_array(c, QG_BF16, M, K + 1, 0, 6, 1.0), b = random_array(c, QG_BF16, K + 1, N, 0, 7, 1.0);
  array d = constant_array(c, QG_BF16, M, N + 1, 0, 0.0);
  double *want = host_bytes(c, M * (N + 1) * sizeof *want);
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++)
      for (int p = 1; p <= K; p++) want[i * (N + 1) + j + 1] += a.value[i * (K + 1) + p] * b.value[p * N + j];
  qg_gemm_args args = {.a = qg_view_cols(a.view, 1, K),
                       .b = qg_view_rows(b.view, 1, K),
                       .c = qg_view_cols(d.view, 1, N),
                       .alpha = 1.0f};
  expect_ok(c->be->ops->gemm(c->be, &args));
  expect_close(c, "gemm", d.view, want, tolerance_of(QG_BF16));
}

/* A sum of ones kept in bf16 stalls at 256. */
void gemm_accumulates_deep_sums_in_fp32(void **state)
{
  conformance *c = *state;
  enum { DEPTH = 3000 };
  array a = constant_array(c, QG_BF16, 2, DEPTH, 0, 1.0), b = constant_array(c, QG_BF16, 3, DEPTH, 0, 1.0);
  array d = constant_array(c, QG_F32, 2, 3, 0, 0.0);
  qg_gemm_args args = {.a = a.view, .b = b.view, .c = d.view, .trans_b = true, .alpha = 1.0f, .beta = 0.0f};
  expect_ok(c->be->ops->gemm(c->be, &args));
  double want[6] = {DEPTH, DEPTH, DEPTH, DEPTH, DEPTH, DEPTH};
  expect_close(c, "deep sum", d.view, want, 0.0);
}

/* Parts of the depth whose sums are 257 and -256, and only 256 is a bf16. */
void gemm_rounds_to_bf16_once(void **state)
{
  conformance *c = *state;
  enum { PART = 4096, DEPTH = 2 * PART };
  array a = constant_array(c, QG_BF16, 2, DEPTH, 0, 0.0), b = constant_array(c, QG_BF16, 3, DEPTH, 0, 1.0);
  array d = constant_array(c, QG_BF16, 2, 3, 0, 0.0);
  for (int i = 0; i < 2; i++) {
    for (int p = 0; p < 257; p++) a.value[i * DEPTH + p] = 1.0;
    for (int p = 0; p < 256; p++) a.value[i * DEPTH + PART + p] = -1.0;
  }
  upload(c, a);
  qg_gemm_args args = {.a = a.view, .b = b.view, .c = d.view, .trans_b = true, .alpha = 1.0f, .beta = 0.0f};
  expect_ok(c->be->ops->gemm(c->be, &args));
  double want[6] = {1.0, 1.0, 1.0, 1.0, 1.0, 1.0};
  expect_close(c, "rounded once", d.view, want, 0.0);
}

void gemm_gives_the_same_bits_again(void **state)
{
  conformance *c = *state;
  array a = random_array(c, c->be->compute, 257, 190, 0, 4, 1.0),
        b = random_array(c, c->be->compute, 190, 131, 0, 5, 1.0);
  array d = constant_array(c, QG_F32, 257, 131, 0, 0.0);
  qg_gemm_args args = {.a = a.view, .b = b.view, .c = d.view, .alpha = 1.0f, .beta = 0.0f};
  expect_ok(c->be->ops->gemm(c->be, &args));
  double *first = download(c, d.view);
  expect_ok(c->be->ops->gemm(c->be, &args));
  expect_close(c, "second run", d.view, first, 0.0);
}
