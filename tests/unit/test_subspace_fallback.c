/* When LAPACK finds no eigenvalues: the next method is tried, and only the last one's failure is the
 * caller's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lapacke.h>
#include <stdlib.h>

#include "qgalore/linalg.h"
#include "support/reference/known_spectrum.h"
#include "support/fixtures/tolerances.h"

enum { M = 40, N = 32, RANK = 6 };

/* --- divide and conquer that fails from a given order on: these stand before LAPACKE's own --- */

static lapack_int failing_order;

lapack_int LAPACKE_sstedc_work(int layout, char compz, lapack_int n, float *d, float *e, float *z,
                               lapack_int ldz, float *work, lapack_int lwork, lapack_int *iwork,
                               lapack_int liwork)
{
  lapack_int info = 0;
  (void)layout;
  if (n >= failing_order) return 1;
  LAPACK_sstedc(&compz, &n, d, e, z, &ldz, work, &lwork, iwork, &liwork, &info);
  return info;
}

lapack_int LAPACKE_dstedc_work(int layout, char compz, lapack_int n, double *d, double *e, double *z,
                               lapack_int ldz, double *work, lapack_int lwork, lapack_int *iwork,
                               lapack_int liwork)
{
  lapack_int info = 0;
  (void)layout;
  if (n >= failing_order) return 1;
  LAPACK_dstedc(&compz, &n, d, e, z, &ldz, work, &lwork, iwork, &liwork, &info);
  return info;
}

static qg_subspace_job solve(qg_subspace_method method, float *basis)
{
  static float gradient[M * N], values[RANK], workspace[1 << 18];
  double s[N];
  for (int i = 0; i < N; i++) s[i] = 1 / (1 + (double)i);
  spectrum_matrix(M, N, s, 3, gradient);
  qg_subspace_options options = {.method = method, .min_energy_ratio = 0.9, .threads = 1};
  qg_subspace_job job = {.m = M,
                         .n = N,
                         .rank = RANK,
                         .gradient = gradient,
                         .basis = basis,
                         .singular_values = values,
                         .seed = 5};
  assert_int_equal(qg_subspace_solve(&options, &job, 1, workspace, sizeof workspace), QG_OK);
  return job;
}

static void the_exact_route_works_with_a_sound_solver(void **state)
{
  (void)state;
  float basis[RANK * N];
  failing_order = N + 1;
  qg_subspace_job job = solve(QG_SUBSPACE_EXACT, basis);
  assert_int_equal(job.status, QG_OK);
  assert_int_equal(job.used, QG_SUBSPACE_EXACT);
}

/* Its eigenproblem has the order of the whole side; those of block power steps are smaller. */
static void a_solver_that_fails_at_full_order_leaves_block_power_steps(void **state)
{
  (void)state;
  float basis[RANK * N];
  double sum = 0, all = 0;
  failing_order = N;
  qg_subspace_job job = solve(QG_SUBSPACE_EXACT, basis);
  assert_int_equal(job.status, QG_OK);
  assert_int_equal(job.used, QG_SUBSPACE_RANDOMIZED);
  for (int i = 0; i < N; i++) all += 1 / ((1 + (double)i) * (1 + (double)i));
  for (int i = 0; i < RANK; i++) sum += 1 / ((1 + (double)i) * (1 + (double)i));
  assert_true(job.energy > 0.98 * sum / all && job.energy <= sum / all * (1 + QG_TOL_F32_SUM));
}

static void a_solver_that_always_fails_keeps_the_old_basis(void **state)
{
  (void)state;
  static const qg_subspace_method methods[] = {QG_SUBSPACE_EXACT, QG_SUBSPACE_RANDOMIZED, QG_SUBSPACE_AUTO};
  float basis[RANK * N];
  failing_order = 1;
  for (int i = 0; i < 3; i++) {
    for (int k = 0; k < RANK * N; k++) basis[k] = 42;
    assert_int_equal(solve(methods[i], basis).status, QG_ERR_NUMERICAL);
    for (int k = 0; k < RANK * N; k++) assert_true(basis[k] == 42);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_exact_route_works_with_a_sound_solver),
      cmocka_unit_test(a_solver_that_fails_at_full_order_leaves_block_power_steps),
      cmocka_unit_test(a_solver_that_always_fails_keeps_the_old_basis),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
