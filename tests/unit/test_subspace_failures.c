/* What cannot be solved says so and leaves the old basis alone; what looks hopeless but is not, is solved. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/linalg.h"
#include "support/reference/known_spectrum.h"
#include "support/fixtures/tolerances.h"

enum { M = 24, N = 20, RANK = 6 };

static const qg_subspace_method METHODS[] = {QG_SUBSPACE_EXACT, QG_SUBSPACE_WARM, QG_SUBSPACE_RANDOMIZED,
                                             QG_SUBSPACE_AUTO};

typedef struct {
  float gradient[M * N], previous[RANK * N], basis[RANK * N], values[RANK];
  qg_subspace_job job;
} fixture;

static fixture *setup(void)
{
  fixture *f = calloc(1, sizeof *f);
  double s[N];
  assert_non_null(f);
  for (int i = 0; i < N; i++) s[i] = 1 / (1 + (double)i);
  spectrum_matrix(M, N, s, 3, f->gradient);
  for (int k = 0; k < RANK; k++) f->previous[k * N + k] = 1;
  f->job = (qg_subspace_job){.m = M,
                             .n = N,
                             .rank = RANK,
                             .gradient = f->gradient,
                             .previous = f->previous,
                             .basis = f->basis,
                             .singular_values = f->values};
  return f;
}

static bool bf16; /* of the group of tests */

static qg_status solve(qg_subspace_method method, qg_subspace_job *job)
{
  qg_subspace_options options = {.method = method, .min_energy_ratio = 0.97, .threads = 1, .bf16 = bf16};
  static char workspace[1 << 23];
  return qg_subspace_solve(&options, job, 1, workspace, sizeof workspace);
}

static void expect_refused_unchanged(fixture *f)
{
  for (int i = 0; i < QG_COUNT_OF(METHODS); i++) {
    for (int k = 0; k < RANK * N; k++) f->basis[k] = 42;
    for (int k = 0; k < RANK; k++) f->values[k] = 43;
    f->job.status = QG_OK;
    assert_int_equal(solve(METHODS[i], &f->job), QG_OK);
    assert_int_equal(f->job.status, QG_ERR_NUMERICAL);
    for (int k = 0; k < RANK * N; k++) assert_true(f->basis[k] == 42);
    for (int k = 0; k < RANK; k++) assert_true(f->values[k] == 43);
  }
}

static void gradients_that_are_not_finite_are_refused(void **state)
{
  static const float poison[] = {NAN, INFINITY, -INFINITY};
  static const int places[] = {0, M * N / 2, M * N - 1};
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(poison); i++)
    for (int k = 0; k < QG_COUNT_OF(places); k++) {
      fixture *f = setup();
      f->gradient[places[k]] = poison[i];
      expect_refused_unchanged(f);
      /* At the door, that is: never seen by LAPACK. */
      assert_non_null(strstr(qg_error_message(), "holds values that are not finite"));
      free(f);
    }
}

static void singular_values_beyond_fp32_are_refused(void **state)
{
  (void)state;
  fixture *f = setup();
  for (int i = 0; i < M * N; i++) f->gradient[i] = 3e38f;
  expect_refused_unchanged(f);
  free(f);
}

static void one_bad_job_does_not_hurt_the_others(void **state)
{
  (void)state;
  fixture *bad = setup(), *good = setup();
  bad->gradient[5] = NAN;
  qg_subspace_job jobs[] = {bad->job, good->job};
  qg_subspace_options options = {.method = QG_SUBSPACE_EXACT, .threads = 2};
  static char workspace[1 << 23];
  assert_int_equal(qg_subspace_solve(&options, jobs, 2, workspace, sizeof workspace), QG_OK);
  assert_int_equal(jobs[0].status, QG_ERR_NUMERICAL);
  assert_int_equal(jobs[1].status, QG_OK);
  assert_true(spectrum_orthonormal_error(&jobs[1], good->basis) <= QG_TOL_ORTHONORMAL);
  free(bad);
  free(good);
}

static void a_zero_gradient_gives_some_orthonormal_basis(void **state)
{
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(METHODS); i++)
    for (int left = 0; left < 2; left++) {
      fixture *f = setup();
      memset(f->gradient, 0, sizeof f->gradient);
      if (left) {
        f->job.m = N;
        f->job.n = M;
      }
      assert_int_equal(solve(METHODS[i], &f->job), QG_OK);
      assert_int_equal(f->job.status, QG_OK);
      assert_true(spectrum_orthonormal_error(&f->job, f->basis) == 0);
      assert_true(f->values[0] == 0);
      assert_true(f->job.energy == 1);
      free(f);
    }
}

static void an_unusable_old_basis_is_ignored(void **state)
{
  static const float poison[] = {NAN, -INFINITY, 3e38f};
  (void)state;
  fixture *f = setup();
  for (int i = 0; i < QG_COUNT_OF(poison); i++) {
    f->previous[7] = poison[i];
    assert_int_equal(solve(QG_SUBSPACE_WARM, &f->job), QG_OK);
    assert_int_equal(f->job.status, QG_OK);
    assert_int_equal(f->job.used, QG_SUBSPACE_EXACT);
    assert_true(spectrum_orthonormal_error(&f->job, f->basis) <= QG_TOL_ORTHONORMAL);
  }
  memset(f->previous, 0, sizeof f->previous);
  assert_int_equal(solve(QG_SUBSPACE_WARM, &f->job), QG_OK);
  assert_int_equal(f->job.status, QG_OK);
  assert_true(spectrum_orthonormal_error(&f->job, f->basis) <= QG_TOL_ORTHONORMAL);
  free(f);
}

static void impossible_calls_fail_as_a_whole(void **state)
{
  (void)state;
  fixture *f = setup();
  qg_subspace_job job = f->job;
  job.rank = N + 1;
  assert_int_equal(solve(QG_SUBSPACE_EXACT, &job), QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), "choose a rank from 1 to 20"));
  job.rank = 0;
  assert_int_equal(solve(QG_SUBSPACE_EXACT, &job), QG_ERR_INPUT);
  job = f->job;
  job.m = INT64_C(1) << 31;
  assert_int_equal(solve(QG_SUBSPACE_EXACT, &job), QG_ERR_INPUT);
  job.m = job.n = 50000;
  assert_int_equal(solve(QG_SUBSPACE_EXACT, &job), QG_ERR_INPUT);
  assert_non_null(strstr(qg_error_message(), "subspace.method = scalapack"));
  job = f->job;
  job.previous = job.basis;
  assert_int_equal(solve(QG_SUBSPACE_EXACT, &job), QG_ERR_RUNTIME);
  assert_int_equal(solve(QG_SUBSPACE_SCALAPACK, &f->job), QG_ERR_RUNTIME);
  free(f);
}

static void a_workspace_that_is_too_small_is_refused(void **state)
{
  (void)state;
  fixture *f = setup();
  qg_subspace_options options = {.method = QG_SUBSPACE_EXACT, .threads = 1};
  size_t bytes = qg_subspace_workspace(&options, &f->job, 1);
  void *workspace = malloc(bytes);
  assert_non_null(workspace);
  assert_int_equal(qg_subspace_solve(&options, &f->job, 1, workspace, bytes - 1), QG_ERR_RUNTIME);
  assert_int_equal(qg_subspace_solve(&options, &f->job, 1, workspace, bytes), QG_OK);
  free(workspace);
  free(f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_that_are_not_finite_are_refused),
      cmocka_unit_test(singular_values_beyond_fp32_are_refused),
      cmocka_unit_test(one_bad_job_does_not_hurt_the_others),
      cmocka_unit_test(a_zero_gradient_gives_some_orthonormal_basis),
      cmocka_unit_test(an_unusable_old_basis_is_ignored),
      cmocka_unit_test(impossible_calls_fail_as_a_whole),
      cmocka_unit_test(a_workspace_that_is_too_small_is_refused),
  };
  int failed = cmocka_run_group_tests_name("failures in fp32", tests, NULL, NULL);
  bf16 = true;
  return failed + cmocka_run_group_tests_name("failures with products of bf16", tests, NULL, NULL);
}
