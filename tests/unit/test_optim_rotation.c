/* Moments follow the subspace: m is read in the new basis, v as the variance of mixed coordinates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_gradients.h"
#include "support/fixtures/tolerances.h"

enum { TOKENS = 40, GAP = 3 };

static qg_optim_options rotating(bool rotates)
{
  qg_optim_options options =
      options_of(QG_METHOD_GALORE); /* f32 moments and projectors: the formula, not its rounding */
  options.update_gap = GAP;
  options.rotate_moments = rotates;
  return options;
}

typedef struct {
  float *m, *v, *basis;
} memory_of;

static memory_of read_out(const fixture *f, const qg_param *p)
{
  return (memory_of){stored_out(f, p, "moments", "m"), stored_out(f, p, "moments", "v"), basis_out(f, p)};
}

static void forget(memory_of *memory)
{
  free(memory->m);
  free(memory->v);
  free(memory->basis);
}

/* C[i, j]: old direction i along new direction j. */
static double turn(const qg_param *p, const qg_sink_info *sink, const float *old, const float *new, int64_t i,
                   int64_t j)
{
  int64_t rank = sink->rank, d = qg_min_i64(p->rows, p->cols);
  bool right = sink->side == QG_SIDE_RIGHT;
  double sum = 0.0;
  for (int64_t k = 0; k < d; k++)
    sum += right ? (double)old[i * d + k] * (double)new[j * d + k]
                 : (double)old[k * rank + i] * (double)new[k * rank + j];
  return sum;
}

/* Element (line, direction) of R, whichever side the directions are on. */
static int64_t at(const qg_sink_info *sink, int64_t line, int64_t direction)
{
  return sink->side == QG_SIDE_RIGHT ? line * sink->rank + direction : direction * sink->gradient.cols + line;
}

static void expect_rotated(const fixture *f, const qg_param *p, const memory_of *old, const memory_of *new)
{
  qg_sink_info sink = sink_of(f, p);
  int64_t rank = sink.rank, lines = gradient_elements(f, p) / rank;
  double c1 = 1.0 - pow(f->options.beta1, GAP), c2 = 1.0 - pow(f->options.beta2, GAP), largest = 0.0;
  for (int64_t i = 0; i < gradient_elements(f, p); i++) largest = fmax(largest, fabs((double)old->m[i]));
  for (int64_t line = 0; line < lines; line += 7)
    for (int64_t j = 0; j < rank; j += 5) {
      double mean = 0.0, variance = 0.0;
      for (int64_t i = 0; i < rank; i++) {
        double c = turn(p, &sink, old->basis, new->basis, i, j), m = (double)old->m[at(&sink, line, i)] / c1;
        mean += c * m;
        variance += c * c * fmax((double)old->v[at(&sink, line, i)] / c2 - m * m, 0.0);
      }
      double want_v = c2 * (variance + mean * mean);
      assert_true(fabs((double)new->m[at(&sink, line, j)] - c1 *mean) <= QG_TOL_F32_SUM * largest);
      assert_true(fabs((double)new->v[at(&sink, line, j)] - want_v) <= QG_TOL_F32_SUM * largest * largest);
    }
}

/* The refresh alone, so that Adam's own step does not blur it. */
static void check_role(qg_role role, bool separate_memory)
{
  fixture f = {.shape = small_shape(), .options = rotating(true), .separate_memory = separate_memory};
  qg_partition part = whole(&f.shape);
  fixture_open(&f, &part, "fp32", TOKENS, 1);
  const qg_param *p = param_of(&f, role, 0);
  for (int64_t step = 0; step < GAP; step++) noise_step(&f, step, 0.01);
  memory_of old = read_out(&f, p);
  assert_ok(qg_optim_begin(f.optim, GAP));
  send_noise_matrix(&f, p, GAP, 0);
  memory_of new = read_out(&f, p);
  assert_int_equal(qg_optim_get_stats(f.optim).refreshes, 1);
  expect_rotated(&f, p, &old, &new);
  forget(&old);
  forget(&new);
  fixture_close(&f);
}

static void moments_are_those_of_the_turned_coordinates(void **state)
{
  (void)state;
  check_role(QG_ROLE_Q, false);    /* square */
  check_role(QG_ROLE_UP, false);   /* right */
  check_role(QG_ROLE_DOWN, false); /* left */
  check_role(QG_ROLE_K, true);     /* left, in a device's memory */
}

static void without_rotation_they_keep_their_numbers(void **state)
{
  (void)state;
  fixture f;
  small_open(&f, rotating(false), TOKENS, 1);
  const qg_param *p = param_of(&f, QG_ROLE_Q, 0);
  for (int64_t step = 0; step < GAP; step++) noise_step(&f, step, 0.01);
  memory_of old = read_out(&f, p);
  assert_ok(qg_optim_begin(f.optim, GAP));
  send_noise_matrix(&f, p, GAP, 0);
  memory_of new = read_out(&f, p);
  assert_memory_equal(old.m, new.m, (size_t)gradient_elements(&f, p) * sizeof *old.m);
  assert_memory_equal(old.v, new.v, (size_t)gradient_elements(&f, p) * sizeof *old.v);
  forget(&old);
  forget(&new);
  fixture_close(&f);
}

/* 8-bit moments go through the same two operations; what is lost is their rounding. */
static void eight_bit_moments_keep_their_sum_of_squares(void **state)
{
  (void)state;
  fixture f;
  qg_optim_options options = options_of(QG_METHOD_QGALORE);
  options.rank = 48; /* all directions of k and v: a rotation loses nothing */
  options.update_gap = GAP;
  options.rotate_moments = true;
  options.projector_bits = 32;
  small_open(&f, options, TOKENS, 1);
  const qg_param *p = param_of(&f, QG_ROLE_K, 0);
  assert_int_equal(sink_of(&f, p).rank, 48);
  assert_true(has_8bit_moments(&f, p));
  for (int64_t step = 0; step < GAP; step++) noise_step(&f, step, 0.01);
  double before = 0.0, after = 0.0;
  int64_t count = gradient_elements(&f, p);
  float *mean = device_floats(&f, count), *variance = device_floats(&f, count);
  qg_moments_args args = {.mean = mean,
                          .variance = variance,
                          .count = count,
                          .c1 = 1.0f,
                          .c2_squared = 1.0f,
                          .m_codes = stored(&f, p, "moments", "m_codes"),
                          .v_codes = stored(&f, p, "moments", "v_codes"),
                          .m_absmax = stored(&f, p, "moments", "m_absmax"),
                          .v_absmax = stored(&f, p, "moments", "v_absmax"),
                          .block = options.moment_block};
  assert_ok(f.counter.ops.read_moments(f.be, &args));
  for (int64_t i = 0; i < count; i++) before += (double)mean[i] * (double)mean[i];
  assert_ok(qg_optim_begin(f.optim, GAP));
  send_noise_matrix(&f, p, GAP, 0);
  assert_ok(f.counter.ops.read_moments(f.be, &args));
  for (int64_t i = 0; i < count; i++) after += (double)mean[i] * (double)mean[i];
  assert_true(fabs(after / before - 1.0) <= QG_TOL_MOMENTS_8BIT);
  fixture_close(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(moments_are_those_of_the_turned_coordinates),
      cmocka_unit_test(without_rotation_they_keep_their_numbers),
      cmocka_unit_test(eight_bit_moments_keep_their_sum_of_squares),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
