/* ranks: 1 2 3 4 8 */
/* A subspace found by all ranks together is that of the exact route, whoever owns it and however badly blocks
 * divide it; a failure on one rank is a failure on all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/linalg/distributed.h"
#include "support/fixtures/tolerances.h"
#include "support/reference/known_spectrum.h"

typedef struct {
  int64_t m, n, rank;
} shape;

static qg_par *par;

/* All ranks pass or fail a check together, so that none waits for one that has left the test. */
static void expect_everywhere(bool good)
{
  double worst = good;
  assert_int_equal(qg_par_min(par, &worst, 1), QG_OK);
  assert_true(worst > 0);
}

static int last_rank(void)
{
  return qg_par_grid(par)->size - 1;
}

static bool owns(int owner)
{
  return qg_par_grid(par)->rank == owner;
}

static float *floats(int64_t count)
{
  float *memory = malloc((size_t)count * sizeof *memory);
  if (!memory) abort();
  return memory;
}

/* On the owner a job with a made-up gradient, elsewhere only its shape. */
static qg_subspace_job plant(shape at, int owner, double scale)
{
  qg_subspace_job job = {.m = at.m, .n = at.n, .rank = at.rank};
  if (!owns(owner)) return job;
  int64_t d = qg_min_i64(at.m, at.n);
  double *s = malloc((size_t)d * sizeof *s);
  float *gradient = floats(at.m * at.n);
  if (!s) abort();
  for (int64_t i = 0; i < d; i++) s[i] = scale * pow(1 + (double)i, -0.7);
  spectrum_matrix(at.m, at.n, s, 5, gradient);
  free(s);
  job.gradient = gradient;
  job.basis = floats(at.rank * d);
  job.singular_values = floats(at.rank);
  return job;
}

static void uproot(qg_subspace_job *job)
{
  free((void *)(uintptr_t)job->gradient);
  free(job->basis);
  free(job->singular_values);
}

static size_t workspace_of(int owner, const qg_subspace_job *job)
{
  const qg_grid *grid = qg_par_grid(par);
  size_t bytes;
  bool fits = qg_subspace_distributed_workspace(grid->rank, grid->size, grid->rank == owner, job->m, job->n,
                                                job->rank, &bytes) == QG_OK;
  return fits ? bytes : 0;
}

static qg_status solve(int owner, qg_subspace_job *job)
{
  size_t bytes = workspace_of(owner, job);
  void *workspace = malloc(bytes + 1);
  if (!workspace) abort();
  memset(workspace, 0xff, bytes); /* NaN: memory that was not written must not be read */
  qg_status status = qg_subspace_solve_distributed(par, owner, job, workspace, bytes);
  free(workspace);
  return status;
}

static double exact_energy(const qg_subspace_job *job)
{
  qg_subspace_options options = {.method = QG_SUBSPACE_EXACT, .threads = 1};
  qg_subspace_job again = *job;
  int64_t d = qg_min_i64(job->m, job->n);
  size_t bytes = qg_subspace_workspace(&options, &again, 1);
  void *workspace = malloc(bytes);
  if (!workspace) abort();
  again.basis = floats(job->rank * d);
  again.singular_values = floats(job->rank);
  qg_status status = qg_subspace_solve(&options, &again, 1, workspace, bytes);
  double energy = status == QG_OK ? spectrum_energy(&again, again.basis) : NAN;
  free(workspace);
  free(again.basis);
  free(again.singular_values);
  return energy;
}

static bool is_as_good_as_exact(const qg_subspace_job *job, double first_value)
{
  double measured = spectrum_energy(job, job->basis);
  return job->used == QG_SUBSPACE_SCALAPACK && QG_CLOSE(measured, exact_energy(job), QG_TOL_F32_SUM) &&
         QG_CLOSE(job->energy, measured, QG_TOL_F32_SUM) &&
         spectrum_orthonormal_error(job, job->basis) <= QG_TOL_ORTHONORMAL &&
         fabs((double)job->singular_values[0] / first_value - 1) <= QG_TOL_F32_SUM;
}

static void check_problem(shape at, int owner, double scale)
{
  qg_subspace_job job = plant(at, owner, scale);
  qg_status status = solve(owner, &job);
  bool good = status == QG_OK && job.status == QG_OK && (!owns(owner) || is_as_good_as_exact(&job, scale));
  if (!good)
    print_error("%lld x %lld, r = %lld, owner %d: %s\n", (long long)at.m, (long long)at.n, (long long)at.rank,
                owner, qg_error_message());
  uproot(&job);
  expect_everywhere(good);
}

static void energy_is_that_of_the_exact_route(void **state)
{
  static const shape shapes[] = {
      {256, 128, 32}, {128, 256, 32}, {192, 192, 48}, {130, 129, 129}, {300, 65, 1}};
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(shapes); i++) check_problem(shapes[i], 0, 1);
}

static void sizes_that_no_block_divides(void **state)
{
  static const shape shapes[] = {{101, 67, 13}, {67, 101, 13}, {71, 71, 71}, {5000, 7, 3}, {11, 4999, 11}};
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(shapes); i++) check_problem(shapes[i], 0, 1);
}

static void more_ranks_than_blocks(void **state)
{
  (void)state;
  for (int64_t d = 1; d <= 9; d++) {
    check_problem((shape){d, d, d}, 0, 1);
    check_problem((shape){d + 3, d, (d + 1) / 2}, 0, 1);
    check_problem((shape){d, d + 30, 1}, 0, 1);
  }
}

static void any_rank_may_own_the_gradient(void **state)
{
  (void)state;
  for (int owner = 0; owner <= last_rank(); owner++) {
    check_problem((shape){90, 70, 20}, owner, 1);
    check_problem((shape){70, 90, 20}, owner, 1);
  }
}

static void tiny_and_huge_gradients_stay_inside_fp32(void **state)
{
  static const double scales[] = {1e-36, 1e-12, 1e12, 1e36};
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(scales); i++) check_problem((shape){80, 60, 10}, last_rank(), scales[i]);
}

static void a_zero_gradient_gives_some_orthonormal_basis(void **state)
{
  (void)state;
  int owner = last_rank();
  qg_subspace_job job = plant((shape){30, 20, 5}, owner, 0);
  qg_status status = solve(owner, &job);
  bool good = status == QG_OK && (!owns(owner) || spectrum_orthonormal_error(&job, job.basis) == 0);
  uproot(&job);
  expect_everywhere(good);
}

static void values_that_are_not_finite_are_refused_on_all_ranks(void **state)
{
  static const float poison[] = {NAN, INFINITY};
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(poison); i++) {
    int owner = last_rank();
    qg_subspace_job job = plant((shape){40, 30, 5}, owner, 1);
    if (owns(owner)) {
      ((float *)(uintptr_t)job.gradient)[77] = poison[i];
      job.basis[0] = 42;
    }
    qg_status status = solve(owner, &job);
    bool good = status == QG_ERR_NUMERICAL && job.status == status &&
                strstr(qg_error_message(), "not finite") && (!owns(owner) || job.basis[0] == 42);
    uproot(&job);
    expect_everywhere(good);
  }
}

static void too_little_workspace_on_one_rank_stops_all(void **state)
{
  (void)state;
  qg_subspace_job job = plant((shape){40, 30, 5}, 0, 1);
  size_t bytes = workspace_of(0, &job);
  void *workspace = malloc(bytes);
  if (!workspace) abort();
  qg_status status = qg_subspace_solve_distributed(par, 0, &job, workspace, bytes - owns(last_rank()));
  free(workspace);
  uproot(&job);
  expect_everywhere(status == QG_ERR_RUNTIME);
}

static void ranks_with_different_jobs_are_told_so(void **state)
{
  (void)state;
  qg_subspace_job job = {.m = 40, .n = 30 + owns(last_rank()), .rank = 5};
  if (last_rank() > 0)
    expect_everywhere(qg_subspace_solve_distributed(par, 0, &job, NULL, 0) == QG_ERR_RUNTIME);
}

static void shapes_out_of_range_are_refused(void **state)
{
  (void)state;
  qg_subspace_job wide = {.m = INT64_C(1) << 31, .n = 30, .rank = 5},
                  square = {.m = 200000, .n = 200000, .rank = 5};
  qg_subspace_job full = {.m = 40, .n = 30, .rank = 31};
  expect_everywhere(workspace_of(0, &wide) == 0);
  expect_everywhere(qg_subspace_solve_distributed(par, 0, &wide, NULL, 0) == QG_ERR_INPUT);
  expect_everywhere(qg_subspace_solve_distributed(par, 0, &square, NULL, 0) == QG_ERR_INPUT);
  expect_everywhere(qg_subspace_solve_distributed(par, 0, &full, NULL, 0) == QG_ERR_INPUT);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(energy_is_that_of_the_exact_route),
      cmocka_unit_test(sizes_that_no_block_divides),
      cmocka_unit_test(more_ranks_than_blocks),
      cmocka_unit_test(any_rank_may_own_the_gradient),
      cmocka_unit_test(tiny_and_huge_gradients_stay_inside_fp32),
      cmocka_unit_test(a_zero_gradient_gives_some_orthonormal_basis),
      cmocka_unit_test(values_that_are_not_finite_are_refused_on_all_ranks),
      cmocka_unit_test(too_little_workspace_on_one_rank_stops_all),
      cmocka_unit_test(ranks_with_different_jobs_are_told_so),
      cmocka_unit_test(shapes_out_of_range_are_refused),
  };
  if (qg_par_init(&argc, &argv, &par) != QG_OK) return QG_ERR_RUNTIME;
  qg_blas_threads(1);
  int failures = cmocka_run_group_tests(tests, NULL, NULL);
  qg_par_finalize(par);
  return failures;
}
