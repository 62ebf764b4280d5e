/* RMSNorm, rotary embedding and SwiGLU. */
#include "support/suites/conformance_tests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "support/fixtures/tolerances.h"

enum { NONE, APART, ON_X, ON_ADD }; /* where rmsnorm puts x + add */

static double norm_rstd(const double *x, int64_t cols, double eps)
{
  double squares = 0.0;
  for (int64_t j = 0; j < cols; j++) squares += x[j] * x[j];
  return 1.0 / sqrt(squares / (double)cols + eps);
}

static void check_rmsnorm(conformance *c, int64_t rows, int64_t cols, int place)
{
  qg_dtype type = c->be->compute;
  array x = random_array(c, type, rows, cols, 3, 1, 2.0), add = random_array(c, type, rows, cols, 2, 2, 2.0);
  array weight = random_array(c, type, 1, cols, 0, 3, 1.0), y = constant_array(c, type, rows, cols, 1, 0.0);
  array sum = constant_array(c, type, rows, cols, 4, 0.0), rstd = constant_array(c, QG_F32, 1, rows, 0, 0.0);
  qg_rmsnorm_args args = {
      .x = x.view, .weight = weight.view, .y = y.view, .rstd = rstd.view.data, .eps = 1e-5f};
  if (place != NONE) args.add = add.view;
  if (place != NONE) args.sum = place == APART ? sum.view : place == ON_X ? x.view : add.view;
  for (int64_t i = 0; i < rows; i++) {
    double *s = sum.value + i * cols;
    for (int64_t j = 0; j < cols; j++)
      s[j] = place == NONE ? x.value[i * cols + j]
                           : rounded(type, x.value[i * cols + j] + add.value[i * cols + j]);
    rstd.value[i] = norm_rstd(s, cols, 1e-5);
    for (int64_t j = 0; j < cols; j++) y.value[i * cols + j] = s[j] * rstd.value[i] * weight.value[j];
  }
  expect_ok(c->be->ops->rmsnorm(c->be, &args));
  expect_close(c, "rmsnorm y", y.view, y.value, tolerance_of(type));
  expect_close(c, "rmsnorm rstd", rstd.view, rstd.value, tolerance_of(type));
  if (place != NONE) expect_close(c, "rmsnorm sum", args.sum, sum.value, tolerance_of(type));
  conformance_end(c);
}

/* The last one as wide as the widest models: a block's threads come back for more of its columns. */
static const int64_t row_shapes[][2] = {{1, 1}, {1, 512}, {5, 67}, {130, 33}, {3, 1376}, {2, 12288}};
enum { ROW_SHAPES = sizeof row_shapes / sizeof row_shapes[0] };

void rmsnorm_normalises_rows(void **state)
{
  for (int s = 0; s < ROW_SHAPES; s++)
    for (int place = NONE; place <= ON_ADD; place++)
      check_rmsnorm(*state, row_shapes[s][0], row_shapes[s][1], place);
}

static void check_rmsnorm_backward(conformance *c, int64_t rows, int64_t cols, bool accumulate, bool in_place)
{
  qg_dtype type = c->be->compute;
  array x = random_array(c, type, rows, cols, 3, 1, 2.0), dy = random_array(c, type, rows, cols, 2, 2, 1.0);
  array weight = random_array(c, type, 1, cols, 0, 3, 1.0), dx = random_array(c, type, rows, cols, 1, 4, 1.0);
  array rstd = constant_array(c, QG_F32, 1, rows, 0, 0.0),
        dweight = random_array(c, QG_F32, 1, cols, 0, 5, 1.0);
  for (int64_t i = 0; i < rows; i++) {
    const double *xi = x.value + i * cols, *dyi = dy.value + i * cols;
    double r = rstd.value[i] = rounded(QG_F32, norm_rstd(xi, cols, 1e-5)), dot = 0.0;
    for (int64_t j = 0; j < cols; j++) dot += dyi[j] * weight.value[j] * xi[j];
    for (int64_t j = 0; j < cols; j++) {
      double d = dyi[j] * weight.value[j] * r - xi[j] * r * r * r / (double)cols * dot;
      dweight.value[j] += dyi[j] * xi[j] * r;
      dx.value[i * cols + j] = d + (accumulate ? dx.value[i * cols + j] : 0.0);
    }
  }
  upload(c, rstd);
  qg_rmsnorm_backward_args args = {.x = x.view,
                                   .weight = weight.view,
                                   .dy = dy.view,
                                   .dx = in_place ? dy.view : dx.view,
                                   .rstd = rstd.view.data,
                                   .dweight = dweight.view.data,
                                   .accumulate = accumulate};
  expect_ok(c->be->ops->rmsnorm_backward(c->be, &args));
  expect_close(c, "rmsnorm dx", args.dx, dx.value, tolerance_of(type));
  expect_close(c, "rmsnorm dweight", dweight.view, dweight.value, QG_TOL_F32_SUM * 4.0);
  conformance_end(c);
}

void rmsnorm_backward_gives_both_gradients(void **state)
{
  for (int s = 0; s < ROW_SHAPES; s++) {
    check_rmsnorm_backward(*state, row_shapes[s][0], row_shapes[s][1], false, false);
    check_rmsnorm_backward(*state, row_shapes[s][0], row_shapes[s][1], true, false);
    check_rmsnorm_backward(*state, row_shapes[s][0], row_shapes[s][1], false, true);
  }
}

static void check_dx_alone(conformance *c, int64_t rows, int64_t cols, bool accumulate)
{
  qg_dtype type = c->be->compute;
  array x = random_array(c, type, rows, cols, 3, 1, 2.0), dy = random_array(c, type, rows, cols, 2, 2, 1.0);
  array weight = random_array(c, type, 1, cols, 0, 3, 1.0), rstd = constant_array(c, QG_F32, 1, rows, 0, 0.7);
  array dweight = constant_array(c, QG_F32, 1, cols, 0, 0.0);
  array dx[2] = {random_array(c, type, rows, cols, 1, 4, 1.0), random_array(c, type, rows, cols, 1, 4, 1.0)};
  for (int alone = 0; alone < 2; alone++) {
    qg_rmsnorm_backward_args args = {.x = x.view,
                                     .weight = weight.view,
                                     .dy = dy.view,
                                     .dx = dx[alone].view,
                                     .rstd = rstd.view.data,
                                     .dweight = alone ? NULL : dweight.view.data,
                                     .accumulate = accumulate};
    expect_ok(c->be->ops->rmsnorm_backward(c->be, &args));
  }
  assert_memory_equal(download(c, dx[0].view), download(c, dx[1].view),
                      (size_t)(rows * cols) * sizeof(double));
  conformance_end(c);
}

void rmsnorm_backward_does_without_the_gradient_of_the_weight(void **state)
{
  for (int s = 0; s < ROW_SHAPES; s++) {
    check_dx_alone(*state, row_shapes[s][0], row_shapes[s][1], false);
    check_dx_alone(*state, row_shapes[s][0], row_shapes[s][1], true);
  }
}

static void rotate(double *x, const double *cosine, const double *sine, int64_t head_dim)
{
  int64_t half = head_dim / 2;
  for (int64_t j = 0; j < half; j++) {
    double a = x[j], b = x[j + half];
    x[j] = a * cosine[j] - b * sine[j];
    x[j + half] = b * cosine[j] + a * sine[j];
  }
}

enum { ONE_TABLE = -1, SEQUENCES = 3 };

typedef struct {
  int64_t length, heads, head_dim, position;
  int64_t gap; /* rows between the tables of two heads; ONE_TABLE: for all heads */
} rope_shape;

static array rope_table(conformance *c, int64_t rows, int64_t half, double (*of)(double))
{
  array table = constant_array(c, QG_F32, rows, half, 0, 0.0);
  for (int64_t i = 0; i < rows * half; i++) table.value[i] = rounded(QG_F32, of(0.3 * (double)i));
  upload(c, table);
  return table;
}

static void check_rope(conformance *c, rope_shape s)
{
  int64_t half = s.head_dim / 2, tokens = SEQUENCES * s.length, heads = s.heads;
  int64_t table_rows = s.gap == ONE_TABLE ? 0 : s.position + s.length + s.gap;
  int64_t rows = s.position + s.length + (heads - 1) * table_rows;
  qg_dtype type = c->be->compute;
  array x = random_array(c, type, tokens, heads * s.head_dim, 6, 1, 1.0);
  array cosine = rope_table(c, rows, half, cos), sine = rope_table(c, rows, half, sin);
  double *before = host_bytes(c, (size_t)(tokens * heads * s.head_dim) * sizeof *before);
  memcpy(before, x.value, (size_t)(tokens * heads * s.head_dim) * sizeof *before);
  for (int64_t i = 0; i < tokens * heads; i++) {
    int64_t angle = (i % heads * table_rows + s.position + i / heads % s.length) * half;
    rotate(x.value + i * s.head_dim, cosine.value + angle, sine.value + angle, s.head_dim);
  }
  qg_rope_args args = {.x = x.view,
                       .cos = cosine.view.data,
                       .sin = sine.view.data,
                       .sequence_length = s.length,
                       .heads = heads,
                       .head_dim = s.head_dim,
                       .position = s.position,
                       .head_stride = table_rows * half};
  expect_ok(c->be->ops->rope(c->be, &args));
  expect_close(c, "rope", x.view, x.value, tolerance_of(type));
  args.inverse = true;
  expect_ok(c->be->ops->rope(c->be, &args));
  expect_close(c, "rope and back", x.view, before, 2.0 * tolerance_of(type));
  conformance_end(c);
}

void rope_rotates_by_position_and_back(void **state)
{
  static const rope_shape shapes[] = {
      {1, 1, 2, 0, ONE_TABLE}, {7, 3, 6, 0, ONE_TABLE}, {16, 2, 64, 0, ONE_TABLE}};
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) check_rope(*state, shapes[i]);
}

void rope_begins_at_a_position(void **state)
{
  static const rope_shape shapes[] = {{1, 2, 64, 9, ONE_TABLE}, {7, 3, 6, 5, ONE_TABLE}};
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) check_rope(*state, shapes[i]);
}

void rope_takes_a_table_for_each_head(void **state)
{
  static const rope_shape shapes[] = {{7, 3, 6, 0, 0}, {16, 2, 64, 0, 1}, {5, 4, 32, 11, 3}};
  for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) check_rope(*state, shapes[i]);
}

enum { SWIGLU_ROWS = 7, SWIGLU_COLS = 137, SWIGLU_COUNT = SWIGLU_ROWS * SWIGLU_COLS };

typedef struct {
  array gate, up, d_out;
  double *out, *d_gate, *d_up;
} swiglu_case;

/* Gates from -60 to 60: both tails of the sigmoid. */
static swiglu_case make_swiglu(conformance *c)
{
  qg_dtype type = c->be->compute;
  swiglu_case s = {.gate = random_array(c, type, SWIGLU_ROWS, SWIGLU_COLS, 3, 1, 60.0),
                   .up = random_array(c, type, SWIGLU_ROWS, SWIGLU_COLS, 1, 2, 2.0),
                   .d_out = random_array(c, type, SWIGLU_ROWS, SWIGLU_COLS, 2, 3, 1.0)};
  s.out = host_bytes(c, SWIGLU_COUNT * sizeof(double));
  s.d_gate = host_bytes(c, SWIGLU_COUNT * sizeof(double));
  s.d_up = host_bytes(c, SWIGLU_COUNT * sizeof(double));
  for (int i = 0; i < SWIGLU_COUNT; i++) {
    double g = s.gate.value[i], u = s.up.value[i], d = s.d_out.value[i], sigmoid = 1.0 / (1.0 + exp(-g));
    s.out[i] = g * sigmoid * u;
    s.d_up[i] = d * g * sigmoid;
    s.d_gate[i] = d * u * sigmoid * (1.0 + g * (1.0 - sigmoid));
  }
  return s;
}

void swiglu_gates(void **state)
{
  conformance *c = *state;
  swiglu_case s = make_swiglu(c);
  array out = constant_array(c, c->be->compute, SWIGLU_ROWS, SWIGLU_COLS, 0, 0.0);
  qg_swiglu_args args = {.gate = s.gate.view, .up = s.up.view, .out = out.view};
  expect_ok(c->be->ops->swiglu(c->be, &args));
  expect_close(c, "swiglu", out.view, s.out, tolerance_of(c->be->compute));
}

void swiglu_backward_keeps_its_own_memory(void **state)
{
  conformance *c = *state;
  swiglu_case s = make_swiglu(c);
  array d_gate = constant_array(c, c->be->compute, SWIGLU_ROWS, SWIGLU_COLS, 0, 0.0);
  array d_up = constant_array(c, c->be->compute, SWIGLU_ROWS, SWIGLU_COLS, 4, 0.0);
  qg_swiglu_args args = {
      .gate = s.gate.view, .up = s.up.view, .d_out = s.d_out.view, .d_gate = d_gate.view, .d_up = d_up.view};
  expect_ok(c->be->ops->swiglu_backward(c->be, &args));
  expect_close(c, "swiglu d_gate", d_gate.view, s.d_gate, tolerance_of(c->be->compute));
  expect_close(c, "swiglu d_up", d_up.view, s.d_up, tolerance_of(c->be->compute));
  expect_close(c, "swiglu d_out", s.d_out.view, s.d_out.value, 0.0);
}

void swiglu_backward_works_in_place(void **state)
{
  conformance *c = *state;
  swiglu_case s = make_swiglu(c);
  qg_swiglu_args args = {.gate = s.gate.view,
                         .up = s.up.view,
                         .out = s.d_out.view,
                         .d_out = s.d_out.view,
                         .d_gate = s.gate.view,
                         .d_up = s.up.view};
  expect_ok(c->be->ops->swiglu_backward(c->be, &args));
  expect_close(c, "swiglu d_gate in place", s.gate.view, s.d_gate, tolerance_of(c->be->compute));
  expect_close(c, "swiglu d_up in place", s.up.view, s.d_up, tolerance_of(c->be->compute));
  expect_close(c, "swiglu out in place", s.d_out.view, s.out, tolerance_of(c->be->compute));
}
