/* Memory, conversions, sums and the embedding. */
#include "support/suites/conformance_tests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "qgalore/numerics/bf16.h"
#include "support/fixtures/tolerances.h"

static const qg_dtype types[] = {QG_F32, QG_BF16};

void memory_is_aligned_zeroed_and_copied(void **state)
{
  conformance *c = *state;
  enum { BYTES = 3 * 1024 * 1024 + 13 };
  unsigned char *device = device_bytes(c, BYTES), *host = host_bytes(c, BYTES),
                *pattern = host_bytes(c, BYTES);
  assert_int_equal((uintptr_t)device % 64, 0);
  expect_ok(c->be->ops->copy_out(c->be, host, device, BYTES));
  assert_memory_equal(host, pattern, BYTES);
  for (int i = 0; i < BYTES; i++) pattern[i] = (unsigned char)(i * 7);
  expect_ok(c->be->ops->copy_in(c->be, device, pattern, BYTES));
  expect_ok(c->be->ops->zero(c->be, device, BYTES / 2));
  expect_ok(c->be->ops->copy_out(c->be, host, device, BYTES));
  memset(pattern, 0, BYTES / 2);
  assert_memory_equal(host, pattern, BYTES);
}

void host_memory_is_for_transfers(void **state)
{
  conformance *c = *state;
  void *pinned;
  expect_ok(c->be->ops->alloc_host(c->be, 1000, &pinned));
  memset(pinned, 42, 1000);
  c->be->ops->release_host(c->be, pinned, 1000);
}

void convert_rounds_to_nearest_even(void **state)
{
  conformance *c = *state;
  static const float cases[] = {0.0f,    -0.0f,  1.0f,     1.00390625f, 1.01171875f, -1.00390625f, 3e38f,
                                3.4e38f, 1e-40f, INFINITY, -INFINITY,   NAN,         0.1f};
  enum { COUNT = sizeof cases / sizeof cases[0] };
  uint16_t want[COUNT], got[COUNT];
  float *src = device_copy(c, cases, sizeof cases);
  uint16_t *dst = device_bytes(c, sizeof want);
  for (int i = 0; i < COUNT; i++) want[i] = qg_bf16_from_float(cases[i]);
  expect_ok(
      c->be->ops->convert(c->be, qg_view_make(dst, QG_BF16, 1, COUNT), qg_view_make(src, QG_F32, 1, COUNT)));
  expect_ok(c->be->ops->copy_out(c->be, got, dst, sizeof got));
  assert_memory_equal(got, want, sizeof got);
}

void convert_and_axpy_respect_strides(void **state)
{
  conformance *c = *state;
  for (int from = 0; from < 2; from++)
    for (int to = 0; to < 2; to++) {
      array src = random_array(c, types[from], 37, 53, 4, 1, 2.0),
            dst = random_array(c, types[to], 37, 53, 9, 2, 2.0);
      double *want = host_bytes(c, 37 * 53 * sizeof *want);
      for (int i = 0; i < 37 * 53; i++) want[i] = dst.value[i] + 0.75 * src.value[i];
      expect_ok(c->be->ops->axpy(c->be, 0.75f, src.view, dst.view));
      expect_close(c, "axpy", dst.view, want, tolerance_of(types[to]));
      for (int i = 0; i < 37 * 53; i++) want[i] = rounded(types[to], src.value[i]);
      expect_ok(c->be->ops->convert(c->be, dst.view, src.view));
      expect_close(c, "convert", dst.view, want, 0.0);
      conformance_end(c);
    }
}

static double device_sum_squares(conformance *c, qg_view view)
{
  double sum = -1.0, *out = device_copy(c, &sum, sizeof sum);
  expect_ok(c->be->ops->sum_squares(c->be, view, out, NULL));
  expect_ok(c->be->ops->copy_out(c->be, &sum, out, sizeof sum));
  return sum;
}

void sum_squares_adds_every_element_once(void **state)
{
  conformance *c = *state;
  static const int64_t shapes[][2] = {{1, 1}, {1, 100003}, {701, 129}, {5000, 3}};
  for (int t = 0; t < 2; t++)
    for (size_t s = 0; s < 4; s++)
      for (int64_t padding = 0; padding <= 5; padding += 5) {
        array a = random_array(c, types[t], shapes[s][0], shapes[s][1], padding, s, 1.0);
        double want = 0.0;
        for (int64_t i = 0; i < shapes[s][0] * shapes[s][1]; i++) want += a.value[i] * a.value[i];
        assert_true(QG_CLOSE(device_sum_squares(c, a.view), want, QG_TOL_F32_SUM));
        conformance_end(c);
      }
}

void sum_squares_shows_non_finite_input(void **state)
{
  conformance *c = *state;
  static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
  for (int t = 0; t < 2; t++)
    for (int b = 0; b < 3; b++) {
      array a = random_array(c, types[t], 3, 1001, 0, 1, 1.0);
      a.value[2047] = bad[b];
      upload(c, a);
      assert_false(isfinite(device_sum_squares(c, a.view)));
      conformance_end(c);
    }
}

/* Open until a sum is not finite, closed from then on, with a count of what came before. */
void a_guard_stays_closed(void **state)
{
  conformance *c = *state;
  static const double last[] = {1.0, (double)INFINITY, 2.0};
  qg_finite_guard guard = {0.0, 0.0}, *device = device_copy(c, &guard, sizeof guard);
  double *out = device_copy(c, &guard.sum, sizeof guard.sum);
  for (int i = 0; i < 3; i++) {
    array a = random_array(c, QG_F32, 3, 1001, 0, 1, 1.0);
    a.value[3002] = last[i];
    upload(c, a);
    expect_ok(c->be->ops->sum_squares(c->be, a.view, out, device));
    expect_ok(c->be->ops->copy_out(c->be, &guard, device, sizeof guard));
    assert_int_equal(qg_finite_guard_is_open(&guard), i == 0);
    assert_true(guard.passed == 1.0);
  }
  conformance_end(c);
}

/* A gradient of 1e25 is finite: so is its norm. */
void sum_squares_does_not_overflow_in_fp32(void **state)
{
  conformance *c = *state;
  array a = constant_array(c, QG_F32, 1, 100, 0, 1e25);
  double want = 100.0 * a.value[0] * a.value[0];
  assert_true(QG_CLOSE(device_sum_squares(c, a.view) / want, 1.0, QG_TOL_F32_SUM));
}

/* More tokens than threads of a block look at together. */
enum { TABLE_ROWS = 11, TOKENS = 600 };

static int32_t *token_ids(conformance *c, int32_t *ids)
{
  for (int i = 0; i < TOKENS; i++) ids[i] = i * i % TABLE_ROWS; /* repeats some rows, never uses others */
  return device_copy(c, ids, TOKENS * sizeof *ids);
}

void embed_gathers_rows(void **state)
{
  conformance *c = *state;
  for (int t = 0; t < 2; t++) {
    int32_t ids[TOKENS], *device_ids = token_ids(c, ids);
    array table = random_array(c, types[t], TABLE_ROWS, 67, 0, 1, 1.0);
    array out = constant_array(c, c->be->compute, TOKENS, 67, 3, 0.0);
    for (int i = 0; i < TOKENS; i++)
      for (int j = 0; j < 67; j++)
        out.value[i * 67 + j] = rounded(c->be->compute, table.value[ids[i] * 67 + j]);
    expect_ok(c->be->ops->embed(c->be, table.view, device_ids, out.view));
    expect_close(c, "embed", out.view, out.value, 0.0);
    conformance_end(c);
  }
}

/* To the bit: each token's row is added in fp32 and rounded to the gradient's type, tokens ascending. */
static void check_embed_backward(conformance *c, qg_dtype type)
{
  enum { COLS = 131 };
  int32_t ids[TOKENS], *device_ids = token_ids(c, ids);
  array d_out = random_array(c, c->be->compute, TOKENS, COLS, 2, 1, 1.0);
  array grad = random_array(c, type, TABLE_ROWS, COLS, 0, 2, 1.0);
  for (int i = 0; i < TOKENS; i++)
    for (int j = 0; j < COLS; j++) {
      double *g = &grad.value[ids[i] * COLS + j];
      *g = rounded(type, (double)((float)*g + (float)d_out.value[i * COLS + j]));
    }
  expect_ok(c->be->ops->embed_backward(c->be, device_ids, d_out.view, grad.view));
  expect_close(c, "embedding gradient", grad.view, grad.value, 0.0);
}

void embed_backward_adds_in_token_order(void **state)
{
  check_embed_backward(*state, QG_F32);
}

void embed_backward_adds_to_bf16_gradients(void **state)
{
  conformance *c = *state;
  if (c->be->compute != QG_BF16) skip();
  check_embed_backward(c, QG_BF16);
}
