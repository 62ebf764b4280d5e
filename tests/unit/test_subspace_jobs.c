/* The result of a job is its own: the same bits again, alone or in company, with one thread or two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/linalg.h"
#include "support/reference/known_spectrum.h"

enum { JOBS = 7, SIDE = 300, RANK = 40 };

typedef struct {
  float *gradient, *previous, *basis, *values;
  int basis_bytes;
} arrays;

typedef struct {
  arrays arrays[JOBS];
  qg_subspace_job jobs[JOBS];
} fixture;

static float *floats(int64_t count)
{
  float *memory = malloc((size_t)count * sizeof *memory);
  assert_non_null(memory);
  return memory;
}

static fixture setup(void)
{
  fixture f;
  double s[SIDE];
  for (int i = 0; i < SIDE; i++) s[i] = 1 / (1 + 0.1 * (double)i);
  for (int i = 0; i < JOBS; i++) {
    int64_t m = SIDE - 20 * i, n = SIDE - 110 + 15 * i, d = qg_min_i64(m, n);
    arrays *a = &f.arrays[i];
    *a = (arrays){floats(m * n), floats(d * RANK), floats(d * RANK), floats(RANK),
                  (int)((size_t)(d * RANK) * sizeof(float))};
    spectrum_matrix(m, n, s, (uint64_t)i, a->gradient);
    for (int64_t k = 0; k < d * RANK; k++) a->previous[k] = a->gradient[k];
    f.jobs[i] = (qg_subspace_job){.m = m,
                                  .n = n,
                                  .rank = RANK,
                                  .gradient = a->gradient,
                                  .previous = a->previous,
                                  .basis = a->basis,
                                  .singular_values = a->values,
                                  .seed = (uint64_t)i};
  }
  return f;
}

static void teardown(fixture *f)
{
  for (int i = 0; i < JOBS; i++) {
    free(f->arrays[i].gradient);
    free(f->arrays[i].previous);
    free(f->arrays[i].basis);
    free(f->arrays[i].values);
  }
}

static bool bf16; /* of the group of tests */

static void solve(qg_subspace_method method, int threads, qg_subspace_job *jobs, int count)
{
  qg_subspace_options options = {
      .method = method, .min_energy_ratio = 0.97, .threads = threads, .bf16 = bf16};
  size_t bytes = qg_subspace_workspace(&options, jobs, count);
  void *workspace = malloc(bytes);
  assert_non_null(workspace);
  assert_int_equal(qg_subspace_solve(&options, jobs, count, workspace, bytes), QG_OK);
  for (int i = 0; i < count; i++) assert_int_equal(jobs[i].status, QG_OK);
  free(workspace);
}

static void expect_same_bits(const fixture *a, const fixture *b)
{
  for (int i = 0; i < JOBS; i++) {
    assert_memory_equal(a->arrays[i].basis, b->arrays[i].basis, a->arrays[i].basis_bytes);
    assert_memory_equal(a->arrays[i].values, b->arrays[i].values, RANK * sizeof(float));
    assert_true(a->jobs[i].energy == b->jobs[i].energy);
    assert_int_equal(a->jobs[i].used, b->jobs[i].used);
  }
}

static const qg_subspace_method METHODS[] = {QG_SUBSPACE_EXACT, QG_SUBSPACE_WARM, QG_SUBSPACE_RANDOMIZED};

static void a_second_solution_has_the_same_bits(void **state)
{
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(METHODS); i++) {
    fixture first = setup(), second = setup();
    solve(METHODS[i], 2, first.jobs, JOBS);
    solve(METHODS[i], 2, second.jobs, JOBS);
    expect_same_bits(&first, &second);
    teardown(&first);
    teardown(&second);
  }
}

static void company_and_threads_change_no_bits(void **state)
{
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(METHODS); i++) {
    fixture together = setup(), alone = setup(), serial = setup();
    solve(METHODS[i], 2, together.jobs, JOBS);
    for (int k = 0; k < JOBS; k++) solve(METHODS[i], 2, &alone.jobs[k], 1);
    solve(METHODS[i], 1, serial.jobs, JOBS);
    expect_same_bits(&together, &alone);
    expect_same_bits(&together, &serial);
    teardown(&together);
    teardown(&alone);
    teardown(&serial);
  }
}

static void another_seed_is_another_random_start(void **state)
{
  (void)state;
  fixture one = setup(), other = setup();
  other.jobs[0].seed = 99;
  solve(QG_SUBSPACE_RANDOMIZED, 1, one.jobs, 1);
  solve(QG_SUBSPACE_RANDOMIZED, 1, other.jobs, 1);
  assert_memory_not_equal(one.arrays[0].basis, other.arrays[0].basis, one.arrays[0].basis_bytes);
  teardown(&one);
  teardown(&other);
}

static void the_thread_setting_of_the_caller_survives(void **state)
{
  (void)state;
  fixture f = setup();
  int before = omp_get_max_threads();
  solve(QG_SUBSPACE_EXACT, before + 1, f.jobs, 2);
  assert_int_equal(omp_get_max_threads(), before);
  teardown(&f);
}

static void the_host_solver_is_the_same_call(void **state)
{
  (void)state;
  qg_subspace_options options = {
      .method = QG_SUBSPACE_WARM, .min_energy_ratio = 0.97, .threads = 2, .bf16 = bf16};
  qg_subspace_solver solver = qg_subspace_host_solver(&options);
  fixture called = setup(), handed = setup();
  size_t bytes = solver.workspace(&solver, handed.jobs, JOBS);
  void *workspace = malloc(bytes);
  assert_non_null(workspace);
  assert_int_equal(bytes, qg_subspace_workspace(&options, called.jobs, JOBS));
  solve(QG_SUBSPACE_WARM, 2, called.jobs, JOBS);
  assert_int_equal(solver.solve(&solver, handed.jobs, JOBS, workspace, bytes), QG_OK);
  expect_same_bits(&called, &handed);
  free(workspace);
  teardown(&called);
  teardown(&handed);
}

static void no_jobs_need_nothing(void **state)
{
  (void)state;
  qg_subspace_options options = {.method = QG_SUBSPACE_AUTO, .threads = 2};
  assert_int_equal(qg_subspace_solve(&options, NULL, 0, NULL, 0), QG_OK);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_second_solution_has_the_same_bits),
      cmocka_unit_test(company_and_threads_change_no_bits),
      cmocka_unit_test(another_seed_is_another_random_start),
      cmocka_unit_test(the_thread_setting_of_the_caller_survives),
      cmocka_unit_test(the_host_solver_is_the_same_call),
      cmocka_unit_test(no_jobs_need_nothing),
  };
  int failed = cmocka_run_group_tests_name("jobs in fp32", tests, NULL, NULL);
  bf16 = true;
  return failed + cmocka_run_group_tests_name("jobs with products of bf16", tests, NULL, NULL);
}
