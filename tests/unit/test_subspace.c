/* What every method promises on spectra of every kind: an orthonormal basis, the energy it says, and nearly
 * the energy of the best basis there is. */
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

enum { MAX_SIDE = 128 };

static const double MIN_ENERGY = 0.97;

typedef enum { DECAYING, STEEP, FLAT, CLUSTERED, RANK_ONE, HALF_RANK, SPECTRA } spectrum;

static double known_value(spectrum kind, int64_t i, int64_t rank, int64_t d)
{
  switch (kind) {
    case DECAYING:
      return pow(1 + (double)i, -0.8);
    case STEEP:
      return pow(10, -5.0 * (double)i / (double)d); /* s_r under the reach of an fp32 Gram matrix */
    case FLAT:
      return 1;
    case CLUSTERED:
      return i < rank - 3 ? 2 : i < rank + 3 ? 1 : 0.1;
    case RANK_ONE:
      return i == 0;
    default:
      return i < (rank + 1) / 2 ? 1 / (1 + (double)i) : 0;
  }
}

typedef struct {
  int64_t m, n, rank;
} shape;

static const shape SHAPES[] = {{96, 64, 16}, {64, 96, 16}, {64, 64, 64},   {40, 100, 40},
                               {100, 40, 1}, {7, 128, 1},  {1, 9, 1},      {9, 1, 1},
                               {1, 1, 1},    {33, 31, 30}, {160, 120, 12}, {120, 130, 20}};

typedef struct {
  qg_subspace_job job;
  double s[MAX_SIDE]; /* singular values of the gradient */
  float *gradient, *basis, *previous, *values;
} fixture;

static fixture plant(shape at, spectrum kind, double scale)
{
  fixture f = {0};
  int64_t d = qg_min_i64(at.m, at.n), basis_bytes = at.rank * d * (int64_t)sizeof(float);
  double known[MAX_SIDE];
  for (int64_t i = 0; i < d; i++) known[i] = scale * known_value(kind, i, at.rank, d);
  f.gradient = malloc((size_t)(at.m * at.n) * sizeof(float));
  f.basis = malloc((size_t)basis_bytes);
  f.previous = malloc((size_t)basis_bytes);
  f.values = malloc((size_t)at.rank * sizeof(float));
  assert_true(f.gradient && f.basis && f.previous && f.values);
  spectrum_matrix(at.m, at.n, known, 7, f.gradient);
  spectrum_singular_values(at.m, at.n, f.gradient, f.s);
  f.job = (qg_subspace_job){.m = at.m,
                            .n = at.n,
                            .rank = at.rank,
                            .gradient = f.gradient,
                            .basis = f.basis,
                            .singular_values = f.values,
                            .seed = 11};
  return f;
}

static void uproot(fixture *f)
{
  free(f->gradient);
  free(f->basis);
  free(f->previous);
  free(f->values);
}

static bool bf16; /* of the group of tests */

static void solve(qg_subspace_method method, double min_energy, qg_subspace_job *job)
{
  qg_subspace_options options = {
      .method = method, .min_energy_ratio = min_energy, .threads = 1, .bf16 = bf16};
  size_t bytes = qg_subspace_workspace(&options, job, 1);
  void *workspace = malloc(bytes);
  assert_non_null(workspace);
  assert_int_equal(qg_subspace_solve(&options, job, 1, workspace, bytes), QG_OK);
  free(workspace);
}

static void expect_descending_values(const fixture *f)
{
  for (int64_t k = 1; k < f->job.rank; k++) assert_true(f->values[k] <= f->values[k - 1]);
}

static void expect_positive_signs(const fixture *f)
{
  bool right = qg_side_of(f->job.m, f->job.n) == QG_SIDE_RIGHT;
  int64_t d = qg_min_i64(f->job.m, f->job.n), rank = f->job.rank;
  for (int64_t k = 0; k < rank; k++) {
    float largest = 0;
    for (int64_t j = 0; j < d; j++) {
      float x = right ? f->basis[k * d + j] : f->basis[j * rank + k];
      if (fabsf(x) > fabsf(largest)) largest = x;
    }
    assert_true(largest > 0);
  }
}

/* `share`: of the best energy that must be reached. */
static void expect_good_basis(const fixture *f, double share)
{
  const qg_subspace_job *job = &f->job;
  double optimum = spectrum_optimal_energy(qg_min_i64(job->m, job->n), job->rank, f->s);
  double measured = spectrum_energy(job, job->basis);
  assert_int_equal(job->status, QG_OK);
  assert_true(spectrum_orthonormal_error(job, job->basis) <= QG_TOL_ORTHONORMAL);
  assert_true(QG_CLOSE(job->energy, measured, bf16 ? QG_TOL_ROUNDED_ENERGY : QG_TOL_F32_SUM));
  assert_true(measured >= share * optimum - QG_TOL_F32_SUM);
  assert_true(measured <= optimum + QG_TOL_F32_SUM);
  expect_descending_values(f);
  expect_positive_signs(f);
}

static void expect_true_singular_values(const fixture *f)
{
  for (int64_t k = 0; k < f->job.rank; k++) {
    double found = (double)f->values[k] / f->s[0], known = f->s[k] / f->s[0];
    assert_true(QG_CLOSE(found * found, known * known, bf16 ? QG_TOL_GRAM_SPLIT : QG_TOL_GRAM_F32));
  }
}

static void for_every_problem(void (*check)(shape at, spectrum kind))
{
  for (int i = 0; i < QG_COUNT_OF(SHAPES); i++)
    for (int kind = 0; kind < SPECTRA; kind++) check(SHAPES[i], (spectrum)kind);
}

static void check_exact(shape at, spectrum kind)
{
  fixture f = plant(at, kind, 1);
  solve(QG_SUBSPACE_EXACT, MIN_ENERGY, &f.job);
  expect_good_basis(&f, 1);
  expect_true_singular_values(&f);
  assert_int_equal(f.job.used, QG_SUBSPACE_EXACT);
  uproot(&f);
}

static void exact_holds_the_optimal_energy(void **state)
{
  (void)state;
  for_every_problem(check_exact);
}

static void exact_finds_small_singular_values_beside_large_ones(void **state)
{
  static const shape shapes[] = {{40, 700, 40}, {700, 40, 40}, {40, 40, 40}};
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(shapes); i++) {
    fixture f = plant(shapes[i], STEEP, 1);
    solve(QG_SUBSPACE_EXACT, MIN_ENERGY, &f.job);
    for (int64_t k = 0; k < f.job.rank; k++)
      assert_true(fabs((double)f.values[k] - f.s[k]) <= QG_TOL_F32_SUM * f.s[k]);
    uproot(&f);
  }
}

static void check_randomized(shape at, spectrum kind)
{
  fixture f = plant(at, kind, 1);
  solve(QG_SUBSPACE_RANDOMIZED, MIN_ENERGY, &f.job);
  expect_good_basis(&f, MIN_ENERGY);
  uproot(&f);
}

static void randomized_comes_near_from_a_cold_start(void **state)
{
  (void)state;
  for_every_problem(check_randomized);
}

/* The basis that a slightly different gradient had, to four bits as the projector keeps it. */
static void remember_coarsely(fixture *f)
{
  int64_t count = f->job.rank * qg_min_i64(f->job.m, f->job.n);
  float largest = 0;
  for (int64_t i = 0; i < count; i++) largest = fmaxf(largest, fabsf(f->basis[i]));
  for (int64_t i = 0; i < count; i++) f->previous[i] = rintf(f->basis[i] / largest * 7) / 7 * largest;
  f->job.previous = f->previous;
}

static void check_warm(shape at, spectrum kind)
{
  fixture f = plant(at, kind, 1);
  solve(QG_SUBSPACE_EXACT, MIN_ENERGY, &f.job);
  remember_coarsely(&f);
  solve(QG_SUBSPACE_WARM, MIN_ENERGY, &f.job);
  expect_good_basis(&f, MIN_ENERGY);
  uproot(&f);
}

static void warm_comes_near_from_a_coarse_old_basis(void **state)
{
  (void)state;
  for_every_problem(check_warm);
}

static void warm_is_not_caught_in_a_wrong_invariant_subspace(void **state)
{
  (void)state;
  enum { D = 64, RANK = 16 };
  double known[D];
  fixture f = plant((shape){D, D, RANK}, DECAYING, 1);
  /* The same singular vectors in reverse order: the old basis is exactly the worst one. */
  for (int i = 0; i < D; i++) known[i] = known_value(DECAYING, D - 1 - i, RANK, D);
  spectrum_matrix(D, D, known, 7, f.gradient);
  solve(QG_SUBSPACE_EXACT, MIN_ENERGY, &f.job);
  memcpy(f.previous, f.basis, D * RANK * sizeof(float));
  f.job.previous = f.previous;
  for (int i = 0; i < D; i++) known[i] = known_value(DECAYING, i, RANK, D);
  spectrum_matrix(D, D, known, 7, f.gradient);
  solve(QG_SUBSPACE_WARM, MIN_ENERGY, &f.job);
  expect_good_basis(&f, MIN_ENERGY);
  uproot(&f);
}

static void warm_gives_way_to_exact_when_too_little_is_held(void **state)
{
  (void)state;
  fixture f = plant(SHAPES[0], DECAYING, 1);
  int64_t d = qg_min_i64(f.job.m, f.job.n);
  /* An old basis of unit vectors has nothing to do with the gradient, so every step gains and 1 is out of
   * reach. */
  memset(f.previous, 0, (size_t)(f.job.rank * d) * sizeof(float));
  for (int64_t k = 0; k < f.job.rank; k++) f.previous[k * d + k] = 1;
  f.job.previous = f.previous;
  solve(QG_SUBSPACE_WARM, 1, &f.job);
  assert_int_equal(f.job.used, QG_SUBSPACE_EXACT);
  expect_good_basis(&f, 1);
  uproot(&f);
}

static void extreme_scales_change_nothing_but_the_singular_values(void **state)
{
  static const double scales[] = {1e-37, 1e-30, 1e-14, 1e-8, 1e8, 1e14, 1e30, 1e37};
  static const qg_subspace_method methods[] = {QG_SUBSPACE_EXACT, QG_SUBSPACE_WARM, QG_SUBSPACE_RANDOMIZED};
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(scales); i++)
    for (int k = 0; k < QG_COUNT_OF(methods); k++) {
      fixture f = plant(SHAPES[1], DECAYING, scales[i]);
      solve(QG_SUBSPACE_EXACT, MIN_ENERGY, &f.job);
      remember_coarsely(&f);
      solve(methods[k], MIN_ENERGY, &f.job);
      expect_good_basis(&f, MIN_ENERGY);
      assert_true(fabs((double)f.values[0] / f.s[0] - 1) <= 1e-3);
      uproot(&f);
    }
}

static void auto_is_warm_with_an_old_basis_and_exact_without(void **state)
{
  (void)state;
  fixture f = plant(SHAPES[0], DECAYING, 1);
  solve(QG_SUBSPACE_AUTO, MIN_ENERGY, &f.job);
  assert_int_equal(f.job.used, QG_SUBSPACE_EXACT);
  remember_coarsely(&f);
  solve(QG_SUBSPACE_AUTO, MIN_ENERGY, &f.job);
  assert_int_equal(f.job.used, QG_SUBSPACE_WARM);
  uproot(&f);
}

static void auto_starts_wide_matrices_at_random(void **state)
{
  enum { SIDE = 2048, RANK = 4 };
  (void)state;
  float *gradient = malloc(SIDE * SIDE * sizeof(float)), *basis = malloc(RANK * SIDE * sizeof(float)),
        values[RANK];
  assert_true(gradient && basis);
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++)
      gradient[i * SIDE + j] = cosf((float)i) * sinf((float)j) + 0.1f * cosf(2 * (float)i) * cosf((float)j);
  qg_subspace_job job = {
      .m = SIDE, .n = SIDE, .rank = RANK, .gradient = gradient, .basis = basis, .singular_values = values};
  solve(QG_SUBSPACE_AUTO, MIN_ENERGY, &job);
  assert_int_equal(job.used, QG_SUBSPACE_RANDOMIZED);
  assert_true(QG_CLOSE(job.energy, 1, QG_TOL_F32_SUM));
  assert_true(spectrum_orthonormal_error(&job, basis) <= QG_TOL_ORTHONORMAL);
  free(gradient);
  free(basis);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exact_holds_the_optimal_energy),
      cmocka_unit_test(exact_finds_small_singular_values_beside_large_ones),
      cmocka_unit_test(randomized_comes_near_from_a_cold_start),
      cmocka_unit_test(warm_comes_near_from_a_coarse_old_basis),
      cmocka_unit_test(warm_is_not_caught_in_a_wrong_invariant_subspace),
      cmocka_unit_test(warm_gives_way_to_exact_when_too_little_is_held),
      cmocka_unit_test(extreme_scales_change_nothing_but_the_singular_values),
      cmocka_unit_test(auto_is_warm_with_an_old_basis_and_exact_without),
      cmocka_unit_test(auto_starts_wide_matrices_at_random),
  };
  int failed = cmocka_run_group_tests_name("subspaces in fp32", tests, NULL, NULL);
  bf16 = true;
  return failed + cmocka_run_group_tests_name("subspaces with products of bf16", tests, NULL, NULL);
}
