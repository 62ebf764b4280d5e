/* Results of the CPU backend do not depend on the number of threads: to the bit, as qgalore/backend.h
 * promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "backend/cpu/panel.h"
#include "support/suites/conformance_arrays.h"

enum { TOKENS = 330, LENGTH = 110, HEADS = 4, KV_HEADS = 2, HEAD_DIM = 16, COLS = HEADS * HEAD_DIM };

static const qg_workload workload = {.tokens = TOKENS,
                                     .sequence_length = LENGTH,
                                     .hidden_size = COLS,
                                     .intermediate_size = COLS,
                                     .num_heads = HEADS,
                                     .num_kv_heads = KV_HEADS,
                                     .vocab_size = COLS,
                                     .logit_chunk_tokens = TOKENS};

static void open_with(conformance *c, int threads, const char *precision)
{
  qg_backend_request request = {.name = "cpu", .precision = precision, .threads = threads};
  memset(c, 0, sizeof *c);
  expect_ok(qg_backend_open(&request, &c->be));
  size_t bytes = c->be->ops->workspace_bytes(c->be, &workload);
  c->be->ops->set_workspace(c->be, device_bytes(c, bytes), bytes);
}

static void close_all(conformance *c)
{
  conformance_end(c);
  qg_backend_close(c->be);
}

/* Results of one run, in order. */
typedef struct {
  double *values[8];
  int64_t count[8];
  int used;
} results;

static void keep(conformance *c, results *r, qg_view view)
{
  int64_t count = view.rows * view.cols;
  r->values[r->used] = malloc((size_t)count * sizeof(double));
  assert_non_null(r->values[r->used]);
  memcpy(r->values[r->used], download(c, view), (size_t)count * sizeof(double));
  r->count[r->used++] = count;
}

static void expect_same_bits(results *one, results *many)
{
  assert_int_equal(one->used, many->used);
  for (int i = 0; i < one->used; i++) {
    assert_memory_equal(one->values[i], many->values[i], (size_t)one->count[i] * sizeof(double));
    free(one->values[i]);
    free(many->values[i]);
  }
}

static void run_sums(conformance *c, results *r)
{
  qg_dtype type = c->be->compute;
  array x = random_array(c, type, TOKENS, COLS, 0, 1, 1.0),
        dy = random_array(c, type, TOKENS, COLS, 0, 2, 1.0);
  array weight = random_array(c, type, 1, COLS, 0, 3, 1.0),
        rstd = random_array(c, QG_F32, 1, TOKENS, 0, 4, 1.0);
  array dweight = constant_array(c, QG_F32, 1, COLS, 0, 0.0);
  qg_rmsnorm_backward_args norm = {.x = x.view,
                                   .weight = weight.view,
                                   .dy = dy.view,
                                   .dx = dy.view,
                                   .rstd = rstd.view.data,
                                   .dweight = dweight.view.data};
  expect_ok(c->be->ops->rmsnorm_backward(c->be, &norm));
  keep(c, r, dy.view);
  keep(c, r, dweight.view);
  double sum, *device = device_bytes(c, sizeof sum);
  array many = random_array(c, QG_F32, 1, 1000003, 0, 5, 1.0);
  expect_ok(c->be->ops->sum_squares(c->be, many.view, device, NULL));
  expect_ok(c->be->ops->copy_out(c->be, &sum, device, sizeof sum));
  keep(c, r, (qg_view){device, QG_F32, 1, 2, 2}); /* the bits of the double, as two words */
}

static void run_loss(conformance *c, results *r)
{
  array logits = random_array(c, QG_F32, TOKENS, COLS, 0, 6, 4.0);
  array gradient = constant_array(c, c->be->compute, TOKENS, COLS, 0, 0.0);
  double *loss = device_bytes(c, sizeof *loss);
  int32_t *targets = device_bytes(c, TOKENS * sizeof *targets);
  qg_cross_entropy_args args = {
      .logits = logits.view, .d_logits = gradient.view, .targets = targets, .loss = loss, .grad_scale = 1.0f};
  expect_ok(c->be->ops->cross_entropy(c->be, &args));
  keep(c, r, gradient.view);
  keep(c, r, (qg_view){loss, QG_F32, 1, 2, 2});
}

static void run_attention(conformance *c, results *r)
{
  qg_dtype type = c->be->compute;
  int64_t kv_cols = KV_HEADS * HEAD_DIM;
  array q = random_array(c, type, TOKENS, COLS, 0, 1, 1.0),
        k = random_array(c, type, TOKENS, kv_cols, 0, 2, 1.0);
  array v = random_array(c, type, TOKENS, kv_cols, 0, 3, 1.0),
        d_o = random_array(c, type, TOKENS, COLS, 0, 4, 1.0);
  array o = constant_array(c, type, TOKENS, COLS, 0, 0.0),
        lse = constant_array(c, QG_F32, HEADS, TOKENS, 0, 0.0);
  array d_q = constant_array(c, type, TOKENS, COLS, 0, 0.0),
        d_k = constant_array(c, type, TOKENS, kv_cols, 0, 0.0);
  array d_v = constant_array(c, type, TOKENS, kv_cols, 0, 0.0);
  qg_attention_args args = {.q = q.view,
                            .k = k.view,
                            .v = v.view,
                            .o = o.view,
                            .lse = lse.view.data,
                            .d_o = d_o.view,
                            .d_q = d_q.view,
                            .d_k = d_k.view,
                            .d_v = d_v.view,
                            .sequence_length = LENGTH,
                            .heads = HEADS,
                            .kv_heads = KV_HEADS,
                            .head_dim = HEAD_DIM};
  expect_ok(c->be->ops->attention(c->be, &args));
  expect_ok(c->be->ops->attention_backward(c->be, &args));
  qg_view outputs[] = {o.view, lse.view, d_q.view, d_k.view, d_v.view};
  for (int i = 0; i < 5; i++) keep(c, r, outputs[i]);
}

/* Deeper than a block of the depth, and not a multiple of anything. */
static void run_products(conformance *c, results *r)
{
  enum { ROWS = 67, DEPTH = 2100, WIDTH = 133 };
  array a = random_array(c, QG_BF16, ROWS, DEPTH, 0, 1, 1.0),
        b = random_array(c, QG_BF16, DEPTH, WIDTH, 0, 2, 1.0);
  array narrow = constant_array(c, QG_BF16, ROWS, WIDTH, 0, 0.0),
        wide = constant_array(c, QG_F32, ROWS, WIDTH, 0, 0.5);
  qg_gemm_args args = {.a = a.view, .b = b.view, .c = narrow.view, .alpha = 1.0f};
  expect_ok(c->be->ops->gemm(c->be, &args));
  args.c = wide.view;
  args.beta = 1.0f;
  expect_ok(c->be->ops->gemm(c->be, &args));
  keep(c, r, narrow.view);
  keep(c, r, wide.view);
}

static void compare_threads(void (*run)(conformance *, results *), const char *precision)
{
  conformance c;
  results one = {.used = 0}, many = {.used = 0};
  open_with(&c, 1, precision);
  run(&c, &one);
  close_all(&c);
  open_with(&c, 3, precision);
  run(&c, &many);
  close_all(&c);
  expect_same_bits(&one, &many);
}

static void sums_over_rows_do_not_depend_on_threads(void **state)
{
  (void)state;
  compare_threads(run_sums, "fp32");
  compare_threads(run_sums, "bf16");
}

static void loss_does_not_depend_on_threads(void **state)
{
  (void)state;
  compare_threads(run_loss, "fp32");
  compare_threads(run_loss, "bf16");
}

static void attention_does_not_depend_on_threads(void **state)
{
  (void)state;
  compare_threads(run_attention, "fp32");
  compare_threads(run_attention, "bf16");
}

/* qgalore/backend.h promises less of GEMM; panels keep more. */
static void products_of_panels_do_not_depend_on_threads(void **state)
{
  (void)state;
  if (!qg_panels()) skip();
  compare_threads(run_products, "bf16");
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(sums_over_rows_do_not_depend_on_threads),
                                     cmocka_unit_test(loss_does_not_depend_on_threads),
                                     cmocka_unit_test(attention_does_not_depend_on_threads),
                                     cmocka_unit_test(products_of_panels_do_not_depend_on_threads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
