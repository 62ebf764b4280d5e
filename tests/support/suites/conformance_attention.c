/* Causal attention against the textbook formula, which holds every score. */
#include "support/suites/conformance_tests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "support/fixtures/tolerances.h"

typedef struct {
  int64_t sequences, length, heads, kv_heads, head_dim;
} attention_shape;

/* How many keys a sequence has, and where its queries begin among them. */
typedef struct {
  int64_t length, position;
} attention_keys;

typedef struct {
  attention_shape shape;
  attention_keys keys;
  array q, k, v, o, lse, d_o, d_q, d_k, d_v;
} attention_case;

/* Keys and values that no query sees yet are NaN: whoever reads them is found out. */
static void hide_later_rows(conformance *c, const attention_case *t, array a)
{
  int64_t seen = t->keys.position + t->shape.length, cols = a.view.cols;
  for (int64_t i = 0; i < a.view.rows; i++)
    for (int64_t j = 0; i % t->keys.length >= seen && j < cols; j++) a.value[i * cols + j] = (double)NAN;
  upload(c, a);
}

/* Row strides exceed the length of a row by multiples of `unit` elements. */
static attention_case make_case_among(conformance *c, attention_shape s, attention_keys among, int64_t unit)
{
  int64_t tokens = s.sequences * s.length, q_cols = s.heads * s.head_dim, kv_cols = s.kv_heads * s.head_dim;
  int64_t keys = s.sequences * among.length;
  qg_dtype type = c->be->compute;
  attention_case t = {.shape = s,
                      .keys = among,
                      .q = random_array(c, type, tokens, q_cols, 5 * unit, 1, 2.0),
                      .k = random_array(c, type, keys, kv_cols, 3 * unit, 2, 2.0),
                      .v = random_array(c, type, keys, kv_cols, 0, 3, 1.0),
                      .o = constant_array(c, type, tokens, q_cols, 2 * unit, 0.0),
                      .lse = constant_array(c, QG_F32, s.heads, tokens, 0, 0.0),
                      .d_o = random_array(c, type, tokens, q_cols, unit, 4, 1.0),
                      .d_q = constant_array(c, type, tokens, q_cols, 4 * unit, 0.0),
                      .d_k = constant_array(c, type, keys, kv_cols, 0, 0.0),
                      .d_v = constant_array(c, type, keys, kv_cols, 6 * unit, 0.0)};
  hide_later_rows(c, &t, t.k);
  hide_later_rows(c, &t, t.v);
  return t;
}

static attention_case make_case(conformance *c, attention_shape s, int64_t unit)
{
  return make_case_among(c, s, (attention_keys){s.length, 0}, unit);
}

static qg_attention_args case_args(const attention_case *t)
{
  return (qg_attention_args){.q = t->q.view,
                             .k = t->k.view,
                             .v = t->v.view,
                             .o = t->o.view,
                             .lse = t->lse.view.data,
                             .d_o = t->d_o.view,
                             .d_q = t->d_q.view,
                             .d_k = t->d_k.view,
                             .d_v = t->d_v.view,
                             .sequence_length = t->shape.length,
                             .heads = t->shape.heads,
                             .kv_heads = t->shape.kv_heads,
                             .head_dim = t->shape.head_dim,
                             .key_length = t->keys.length == t->shape.length ? 0 : t->keys.length,
                             .position = t->keys.position};
}

/* Element pointers of token `row` of a head. */
static double *head_row(array a, int64_t row, int64_t head, int64_t dim)
{
  return a.value + row * a.view.cols + head * dim;
}

static double dot(const double *a, const double *b, int64_t n)
{
  double sum = 0.0;
  for (int64_t j = 0; j < n; j++) sum += a[j] * b[j];
  return sum;
}

/* Probabilities of one query over the keys first .. first + count; returns the log-sum-exp. */
static double softmax_row(const attention_case *t, int64_t row, int64_t head, int64_t first, int64_t count,
                          double *p)
{
  int64_t d = t->shape.head_dim, kv = head / (t->shape.heads / t->shape.kv_heads);
  double max = -(double)INFINITY, sum = 0.0;
  for (int64_t j = 0; j < count; j++) {
    p[j] = dot(head_row(t->q, row, head, d), head_row(t->k, first + j, kv, d), d) / sqrt((double)d);
    max = fmax(max, p[j]);
  }
  for (int64_t j = 0; j < count; j++) sum += exp(p[j] - max);
  double lse = max + log(sum);
  for (int64_t j = 0; j < count; j++) p[j] = exp(p[j] - lse);
  return lse;
}

static void add_scaled(double *to, const double *from, double factor, int64_t n)
{
  for (int64_t j = 0; j < n; j++) to[j] += factor * from[j];
}

static void reference_row(const attention_case *t, int64_t row, int64_t head, double *p)
{
  int64_t d = t->shape.head_dim, kv = head / (t->shape.heads / t->shape.kv_heads);
  int64_t sequence = row / t->shape.length, query = row % t->shape.length;
  int64_t first = sequence * t->keys.length, count = t->keys.position + query + 1;
  double *o = head_row(t->o, row, head, d), *d_o = head_row(t->d_o, row, head, d);
  t->lse.value[head * t->q.view.rows + row] = softmax_row(t, row, head, first, count, p);
  for (int64_t j = 0; j < count; j++) add_scaled(o, head_row(t->v, first + j, kv, d), p[j], d);
  double delta = dot(d_o, o, d);
  for (int64_t j = 0; j < count; j++) {
    double ds = p[j] * (dot(d_o, head_row(t->v, first + j, kv, d), d) - delta) / sqrt((double)d);
    add_scaled(head_row(t->d_v, first + j, kv, d), d_o, p[j], d);
    add_scaled(head_row(t->d_q, row, head, d), head_row(t->k, first + j, kv, d), ds, d);
    add_scaled(head_row(t->d_k, first + j, kv, d), head_row(t->q, row, head, d), ds, d);
  }
}

static void reference(conformance *c, const attention_case *t)
{
  double *p = host_bytes(c, (size_t)t->keys.length * sizeof *p);
  for (int64_t row = 0; row < t->q.view.rows; row++)
    for (int64_t head = 0; head < t->shape.heads; head++) reference_row(t, row, head, p);
}

static void check_forward(conformance *c, const attention_case *t)
{
  qg_attention_args args = case_args(t);
  expect_ok(c->be->ops->attention(c->be, &args));
  expect_close(c, "attention o", t->o.view, t->o.value, tolerance_of(c->be->compute));
  expect_close(c, "attention lse", t->lse.view, t->lse.value, QG_TOL_F32_SUM);
}

/* It reads the rounded o and sums up to sequence_length terms: its tolerance is wider. */
static void check_backward(conformance *c, const attention_case *t)
{
  qg_attention_args args = case_args(t);
  double tolerance = 2.0 * tolerance_of(c->be->compute);
  expect_ok(c->be->ops->attention_backward(c->be, &args));
  expect_close(c, "attention d_q", t->d_q.view, t->d_q.value, tolerance);
  expect_close(c, "attention d_k", t->d_k.view, t->d_k.value, tolerance);
  expect_close(c, "attention d_v", t->d_v.view, t->d_v.value, tolerance);
}

static void check_case(conformance *c, attention_shape shape, int64_t unit)
{
  attention_case t = make_case(c, shape, unit);
  reference(c, &t);
  check_forward(c, &t);
  check_backward(c, &t);
  conformance_end(c);
}

/* A backend may do otherwise where every row is aligned to 16 bytes. */
static void check_attention(conformance *c, attention_shape shape)
{
  check_case(c, shape, 1);
  check_case(c, shape, 8);
}

void attention_and_its_gradient(void **state)
{
  static const attention_shape shapes[] = {
      {1, 1, 1, 1, 2},    {1, 7, 2, 2, 6},    {3, 33, 2, 2, 10}, {2, 64, 1, 1, 16},   {1, 130, 3, 3, 64},
      {2, 129, 2, 2, 80}, {1, 256, 2, 2, 64}, {2, 70, 1, 1, 48}, {1, 100, 1, 1, 128}, {1, 300, 1, 1, 32}};
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) check_attention(*state, shapes[i]);
}

void attention_shares_keys_within_a_group(void **state)
{
  static const attention_shape shapes[] = {
      {2, 37, 6, 2, 8}, {1, 65, 4, 1, 32}, {2, 97, 6, 2, 112}, {1, 300, 4, 2, 8}};
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) check_attention(*state, shapes[i]);
}

static void check_case_among(conformance *c, attention_shape shape, attention_keys keys, int64_t unit)
{
  attention_case t = make_case_among(c, shape, keys, unit);
  reference(c, &t);
  check_forward(c, &t);
  conformance_end(c);
}

/* One token at a time, some at once, and the first ones: a cache that is full, or not yet. */
void attention_sees_the_keys_before_its_queries(void **state)
{
  static const struct {
    attention_shape shape;
    attention_keys keys;
  } cases[] = {{{2, 1, 2, 2, 16}, {40, 39}},   {{3, 1, 6, 2, 8}, {50, 0}},
               {{2, 37, 4, 2, 32}, {101, 64}}, {{3, 5, 6, 2, 10}, {50, 20}},
               {{1, 33, 2, 2, 64}, {70, 0}},   {{1, 260, 2, 1, 16}, {310, 45}},
               {{2, 31, 4, 1, 48}, {200, 97}}, {{1, 2, 1, 1, 128}, {300, 298}},
               {{1, 64, 2, 2, 80}, {129, 65}}, {{2, 1, 8, 8, 64}, {257, 128}}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    check_case_among(*state, cases[i].shape, cases[i].keys, 1);
    check_case_among(*state, cases[i].shape, cases[i].keys, 8);
  }
}

/* Of so many keys that nothing else needs as much. */
void attention_fits_the_workspace_of_its_workload(void **state)
{
  conformance *c = *state;
  const qg_backend_ops *ops = c->be->ops;
  const attention_keys many = {16000, 15999};
  qg_workload workload = {.tokens = 1,
                          .sequence_length = 1,
                          .hidden_size = 16,
                          .num_heads = 1,
                          .num_kv_heads = 1,
                          .logit_chunk_tokens = 1,
                          .key_length = many.length};
  attention_case t = make_case_among(c, (attention_shape){1, 1, 1, 1, 16}, many, 8);
  qg_attention_args args = case_args(&t);
  size_t bytes = ops->workspace_bytes(c->be, &workload);
  workload.key_length = 0;
  size_t without = ops->workspace_bytes(c->be, &workload);
  void *workspace = device_bytes(c, bytes);
  ops->set_workspace(c->be, workspace, without);
  qg_status too_small = ops->attention(c->be, &args);
  qg_error_clear();
  ops->set_workspace(c->be, workspace, bytes);
  qg_status fits = ops->attention(c->be, &args);
  ops->set_workspace(c->be, c->workspace, c->workspace_bytes);
  assert_int_equal(too_small, QG_ERR_RUNTIME);
  expect_ok(fits);
}

static void expect_refused(qg_status status, qg_status want, const char *says)
{
  assert_int_equal(status, want);
  assert_non_null(strstr(qg_error_message(), says));
  qg_error_clear();
}

void attention_refuses_what_it_cannot_do(void **state)
{
  conformance *c = *state;
  const qg_backend_ops *ops = c->be->ops;
  attention_case t = make_case_among(c, (attention_shape){2, 8, 2, 2, 16}, (attention_keys){20, 12}, 8);
  qg_attention_args args = case_args(&t), other_kind = args, beyond = args, shorter = args;
  other_kind.kind = (qg_attention_kind)7;
  beyond.position = 13;
  shorter.key_length = 7;
  shorter.position = 0;
  expect_refused(ops->attention(c->be, &other_kind), QG_ERR_INPUT, "kind 7");
  expect_refused(ops->attention_backward(c->be, &other_kind), QG_ERR_INPUT, "kind 7");
  expect_refused(ops->attention(c->be, &beyond), QG_ERR_RUNTIME,
                 "8 queries from position 13 on, among 20 keys");
  expect_refused(ops->attention(c->be, &shorter), QG_ERR_RUNTIME, "among 7 keys");
  expect_refused(ops->attention_backward(c->be, &args), QG_ERR_RUNTIME,
                 "as many keys as queries, not 20 and 8");
}

/* Scores of +-1000 overflow a softmax that does not subtract its maximum. */
void attention_survives_large_scores(void **state)
{
  conformance *c = *state;
  attention_case t = make_case(c, (attention_shape){1, 70, 1, 1, 16}, 8);
  for (int64_t i = 0; i < 70 * 16; i++) t.q.value[i] = rounded(c->be->compute, 512.0 * t.q.value[i]);
  upload(c, t.q);
  qg_attention_args args = case_args(&t);
  reference(c, &t);
  expect_ok(c->be->ops->attention(c->be, &args));
  /* An fp32 score of 1000 carries 6e-5, and so does the logarithm of each probability. */
  expect_close(c, "attention o", t.o.view, t.o.value, tolerance_of(c->be->compute) + 1e-3);
  expect_close(c, "attention lse", t.lse.view, t.lse.value, QG_TOL_F32_SUM);
}

/* Warps and blocks finish in another order each time; sums must not. */
void attention_gives_the_same_bits_again(void **state)
{
  conformance *c = *state;
  attention_case t = make_case(c, (attention_shape){1, 130, 4, 2, 64}, 8);
  qg_attention_args args = case_args(&t);
  const qg_view results[] = {t.o.view, t.d_q.view, t.d_k.view, t.d_v.view};
  double *first[4];
  for (int again = 0; again < 2; again++) {
    expect_ok(c->be->ops->attention(c->be, &args));
    expect_ok(c->be->ops->attention_backward(c->be, &args));
    for (int i = 0; i < 4; i++) {
      double *values = download(c, results[i]);
      if (!again) first[i] = values;
      else
        assert_memory_equal(first[i], values, (size_t)(results[i].rows * results[i].cols) * sizeof *values);
    }
  }
}
