/* Softmax cross-entropy. */
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
  array logits, gradient;
  int32_t *targets; /* device */
  double *loss;     /* device */
  double want;
} loss_case;

static const double loss_before = 2.5; /* the operation adds to what is there */
static const float grad_scale = 0.125f;

static double row_loss(const double *x, int64_t vocab, int32_t target, double *gradient)
{
  double max = -(double)INFINITY, sum = 0.0;
  for (int64_t j = 0; j < vocab; j++) max = fmax(max, x[j]);
  for (int64_t j = 0; j < vocab; j++) sum += exp(x[j] - max);
  double lse = max + log(sum);
  for (int64_t j = 0; j < vocab; j++)
    gradient[j] = target < 0 ? 0.0 : (exp(x[j] - lse) - (j == target ? 1.0 : 0.0)) * (double)grad_scale;
  return target < 0 ? 0.0 : lse - x[target];
}

/* Logits within `spread` of `centre`. */
static loss_case make_case_around(conformance *c, double centre, int64_t rows, int64_t vocab, double spread)
{
  loss_case t = {.logits = random_array(c, QG_F32, rows, vocab, 0, 1, spread),
                 .gradient = constant_array(c, c->be->compute, rows, vocab, 0, (double)NAN),
                 .want = loss_before};
  for (int64_t e = 0; e < rows * vocab; e++) t.logits.value[e] = rounded(QG_F32, t.logits.value[e] + centre);
  upload(c, t.logits);
  int32_t *targets = host_bytes(c, (size_t)rows * sizeof *targets);
  for (int64_t i = 0; i < rows; i++) {
    targets[i] = i % 3 == 2 ? -1 : (int32_t)((i * 37 + vocab - 1) % vocab);
    t.want += row_loss(t.logits.value + i * vocab, vocab, targets[i], t.gradient.value + i * vocab);
  }
  t.targets = device_copy(c, targets, (size_t)rows * sizeof *targets);
  t.loss = device_copy(c, &loss_before, sizeof loss_before);
  return t;
}

static loss_case make_case(conformance *c, int64_t rows, int64_t vocab, double spread)
{
  return make_case_around(c, 0.0, rows, vocab, spread);
}

static double run(conformance *c, const loss_case *t, qg_view gradient)
{
  double loss;
  qg_cross_entropy_args args = {.logits = t->logits.view,
                                .d_logits = gradient,
                                .targets = t->targets,
                                .loss = t->loss,
                                .grad_scale = grad_scale};
  expect_ok(c->be->ops->cross_entropy(c->be, &args));
  expect_ok(c->be->ops->copy_out(c->be, &loss, t->loss, sizeof loss));
  return loss;
}

/* Gradients are at most grad_scale, so an absolute 1e-5 or 8e-3 would forgive much: the bound is relative to
 * it. */
static void check_gradient(conformance *c, const loss_case *t, qg_view got)
{
  int64_t count = got.rows * got.cols;
  double *values = download(c, got), bound = tolerance_of(got.type) * (double)grad_scale;
  for (int64_t i = 0; i < count; i++)
    if (!(fabs(values[i] - t->gradient.value[i]) <= bound))
      fail_msg("d_logits[%lld] is %.9g, expected %.9g", (long long)i, values[i], t->gradient.value[i]);
}

void cross_entropy_gives_loss_and_gradient(void **state)
{
  static const int64_t shapes[][2] = {{1, 1}, {1, 3}, {5, 1000}, {70, 67}, {4, 32003}};
  conformance *c = *state;
  for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
    loss_case t = make_case(c, shapes[s][0], shapes[s][1], 8.0);
    assert_true(QG_CLOSE(run(c, &t, t.gradient.view), t.want, QG_TOL_F32_SUM));
    check_gradient(c, &t, t.gradient.view);
    conformance_end(c);
  }
}

void cross_entropy_without_gradient_only_adds_the_loss(void **state)
{
  conformance *c = *state;
  loss_case t = make_case(c, 9, 500, 8.0);
  assert_true(QG_CLOSE(run(c, &t, (qg_view){0}), t.want, QG_TOL_F32_SUM));
  expect_close(c, "logits", t.logits.view, t.logits.value, 0.0);
}

void cross_entropy_may_write_over_its_logits(void **state)
{
  conformance *c = *state;
  if (c->be->compute != QG_F32) skip();
  loss_case t = make_case(c, 9, 500, 8.0);
  assert_true(QG_CLOSE(run(c, &t, t.logits.view), t.want, QG_TOL_F32_SUM));
  check_gradient(c, &t, t.logits.view);
}

void cross_entropy_survives_large_logits(void **state)
{
  conformance *c = *state;
  loss_case t = make_case(c, 6, 300, 1e4);
  assert_true(QG_CLOSE(run(c, &t, t.gradient.view), t.want, QG_TOL_F32_SUM));
}

/* A softmax does not know what all logits have in common, though exp of it is 0 or infinite in fp32. */
void cross_entropy_survives_logits_far_from_zero(void **state)
{
  conformance *c = *state;
  for (int sign = -1; sign <= 1; sign += 2) {
    loss_case t = make_case_around(c, sign * 300.0, 6, 300, 8.0);
    assert_true(QG_CLOSE(run(c, &t, t.gradient.view), t.want, QG_TOL_F32_SUM));
    check_gradient(c, &t, t.gradient.view);
    conformance_end(c);
  }
}

void cross_entropy_shows_a_nan_logit(void **state)
{
  conformance *c = *state;
  loss_case t = make_case(c, 2, 300, 1.0);
  t.logits.value[100] = (double)NAN;
  upload(c, t.logits);
  assert_true(isnan(run(c, &t, t.gradient.view)));
}
