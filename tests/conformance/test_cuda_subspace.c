/* Subspaces that the CUDA backend solves on its device, against matrices with known singular values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/linalg.h"
#include "support/fixtures/cuda_device.h"
#include "support/fixtures/tolerances.h"
#include "support/reference/known_spectrum.h"

enum { RANK = 12, MOST = 96 * 80 };

typedef struct {
  int64_t m, n;
} matrix_shape;

/* Both sides, and a square. */
static const matrix_shape shapes[] = {{96, 40}, {40, 80}, {48, 48}};

typedef struct {
  qg_backend *be;
  qg_subspace_args args;
  qg_subspace_job job; /* what the checks of known_spectrum.h look at */
  float host[MOST], basis[MOST], values[RANK];
  double s[96];
} subspace_case;

/* Singular values that fall by a fifth each. */
static void plant(subspace_case *c, matrix_shape shape, double first)
{
  int64_t d = shape.m < shape.n ? shape.m : shape.n;
  for (int64_t i = 0; i < d; i++) c->s[i] = first * pow(0.8, (double)i);
  spectrum_matrix(shape.m, shape.n, c->s, 7, c->host);
}

static size_t basis_bytes(const subspace_case *c)
{
  int64_t d = c->job.m < c->job.n ? c->job.m : c->job.n;
  return (size_t)(RANK * d) * sizeof(float);
}

static void begin(subspace_case *c, matrix_shape shape, qg_device_solver solver)
{
  size_t bytes = (size_t)(shape.m * shape.n) * sizeof(float);
  c->args = (qg_subspace_args){.rank = RANK,
                               .solver = solver,
                               .more_steps = 1,
                               .min_energy_ratio = 0.9,
                               .seed = 3,
                               .singular_values = c->values};
  c->job = (qg_subspace_job){.m = shape.m, .n = shape.n, .rank = RANK, .gradient = c->host};
  c->args.workspace_bytes = c->be->ops->subspace_bytes(c->be, shape.m, shape.n, RANK, solver);
  void *gradient, *basis;
  assert_int_equal(c->be->ops->alloc(c->be, bytes, &gradient), QG_OK);
  assert_int_equal(c->be->ops->copy_in(c->be, gradient, c->host, bytes), QG_OK);
  assert_int_equal(c->be->ops->alloc(c->be, c->args.workspace_bytes, &c->args.workspace), QG_OK);
  c->args.gradient = qg_view_make(gradient, QG_F32, shape.m, shape.n);
  assert_int_equal(c->be->ops->alloc(c->be, basis_bytes(c), &basis), QG_OK);
  c->args.basis = basis;
}

static void solve(subspace_case *c)
{
  qg_status status = c->be->ops->subspace(c->be, &c->args);
  if (status != QG_OK) fail_msg("%s", qg_error_message());
  assert_int_equal(c->be->ops->copy_out(c->be, c->basis, c->args.basis, basis_bytes(c)), QG_OK);
}

static void end(subspace_case *c)
{
  c->be->ops->release(c->be, c->args.gradient.data, 0);
  c->be->ops->release(c->be, c->args.basis, 0);
  c->be->ops->release(c->be, c->args.workspace, c->args.workspace_bytes);
}

static void check_basis(const subspace_case *c, double share)
{
  double energy = spectrum_energy(&c->job, c->basis);
  int64_t d = c->job.m < c->job.n ? c->job.m : c->job.n;
  assert_true(c->args.accepted);
  assert_true(spectrum_orthonormal_error(&c->job, c->basis) < QG_TOL_ORTHONORMAL);
  assert_true(energy >= share * spectrum_optimal_energy(d, RANK, c->s));
  assert_true(QG_CLOSE(c->args.energy, energy, QG_TOL_F32_SUM));
}

static void check_values(const subspace_case *c)
{
  for (int k = 0; k < RANK; k++)
    assert_true(fabs((double)c->values[k] - c->s[k]) <= QG_TOL_GRAM_F32 * c->s[0] * c->s[0] / c->s[k]);
}

/* Element j of vector k. */
static float component(const subspace_case *c, int64_t k, int64_t j)
{
  int64_t d = c->job.m < c->job.n ? c->job.m : c->job.n;
  return c->job.m >= c->job.n ? c->basis[k * d + j] : c->basis[j * RANK + k];
}

static void check_signs(const subspace_case *c)
{
  int64_t d = c->job.m < c->job.n ? c->job.m : c->job.n;
  for (int64_t k = 0; k < RANK; k++) {
    float largest = 0.0f;
    for (int64_t j = 0; j < d; j++)
      if (fabsf(component(c, k, j)) > fabsf(largest)) largest = component(c, k, j);
    assert_true(largest > 0.0f);
  }
}

static void the_exact_solution_is_the_best_there_is(void **state)
{
  subspace_case *c = *state;
  for (int i = 0; i < 3; i++) {
    plant(c, shapes[i], 5.0);
    begin(c, shapes[i], QG_SOLVER_GRAM);
    solve(c);
    check_basis(c, 1.0 - QG_TOL_F32_SUM);
    check_values(c);
    check_signs(c);
    end(c);
  }
}

static void power_steps_from_a_random_start_come_close(void **state)
{
  subspace_case *c = *state;
  for (int i = 0; i < 3; i++) {
    plant(c, shapes[i], 5.0);
    begin(c, shapes[i], QG_SOLVER_POWER);
    solve(c);
    check_basis(c, 1.0 - QG_TOL_POWER_ENERGY);
    check_signs(c);
    end(c);
  }
}

static void *device_copy(const subspace_case *c, const float *basis)
{
  void *device;
  assert_int_equal(c->be->ops->alloc(c->be, basis_bytes(c), &device), QG_OK);
  assert_int_equal(c->be->ops->copy_in(c->be, device, basis, basis_bytes(c)), QG_OK);
  return device;
}

/* How the two are related, as the device says it; the rotation in `rotation` [2, RANK, RANK]. */
static qg_basis_change_args change_of(const subspace_case *c, void *from, void *to, float *rotation)
{
  int64_t d = c->job.m < c->job.n ? c->job.m : c->job.n;
  size_t bytes = 2 * RANK * RANK * sizeof(float);
  void *device;
  assert_int_equal(c->be->ops->alloc(c->be, bytes, &device), QG_OK);
  qg_basis_change_args args = {c->job.m < c->job.n, RANK, d, from, to, device, 0, 0};
  assert_int_equal(c->be->ops->basis_change(c->be, &args), QG_OK);
  assert_int_equal(c->be->ops->copy_out(c->be, rotation, device, bytes), QG_OK);
  c->be->ops->release(c->be, device, bytes);
  return args;
}

/* Two ways to the same subspace: the Gram matrix squares the singular values, the SVD works on the gradient.
 */
static void singular_vectors_of_the_gradient_confirm_the_exact_solution(void **state)
{
  subspace_case *c = *state;
  static float exact[MOST], rotation[2 * RANK * RANK];
  for (int i = 0; i < 3; i++) {
    plant(c, shapes[i], 5.0);
    begin(c, shapes[i], QG_SOLVER_GRAM);
    solve(c);
    double energy = c->args.energy;
    memcpy(exact, c->basis, sizeof exact);
    end(c);
    begin(c, shapes[i], QG_SOLVER_SVD);
    solve(c);
    check_basis(c, 1.0 - QG_TOL_F32_SUM);
    check_values(c);
    check_signs(c);
    assert_true(QG_CLOSE(energy, c->args.energy, QG_TOL_F32_SUM));
    void *other = device_copy(c, exact);
    qg_basis_change_args change = change_of(c, other, c->args.basis, rotation);
    assert_true(change.overlap > 1.0 - QG_TOL_SUBSPACE_DISTANCE);
    assert_true(change.cosine > 1.0 - QG_TOL_SUBSPACE_DISTANCE);
    c->be->ops->release(c->be, other, basis_bytes(c));
    end(c);
  }
}

/* The definitions are those of linalg.h, on a pair of bases that have little to do with each other. */
static void a_change_of_basis_is_that_of_the_host(void **state)
{
  subspace_case *c = *state;
  static float from[MOST], to[MOST], rotation[2 * RANK * RANK], expected[RANK * RANK];
  for (int i = 0; i < 3; i++) {
    qg_side side = qg_side_of(shapes[i].m, shapes[i].n);
    int64_t d = shapes[i].m < shapes[i].n ? shapes[i].m : shapes[i].n;
    c->job = (qg_subspace_job){.m = shapes[i].m, .n = shapes[i].n, .rank = RANK};
    for (int64_t e = 0; e < RANK * d; e++) {
      from[e] = (float)((e * 7919) % 211 - 105) / 400.0f;
      to[e] = (float)((e * 104729) % 199 - 80) / 400.0f;
    }
    void *device_from = device_copy(c, from), *device_to = device_copy(c, to);
    qg_basis_change_args change = change_of(c, device_from, device_to, rotation);
    qg_subspace_rotation(side, d, RANK, from, to, expected);
    for (int e = 0; e < RANK * RANK; e++) {
      assert_true(QG_CLOSE(rotation[e], expected[e], QG_TOL_F32_SUM));
      assert_true(QG_CLOSE(rotation[RANK * RANK + e], rotation[e] * rotation[e], QG_TOL_F32_SUM));
    }
    assert_true(QG_CLOSE(change.overlap, qg_subspace_overlap(RANK, expected), QG_TOL_F32_SUM));
    assert_true(QG_CLOSE(change.cosine, qg_subspace_cosine(side, d, RANK, from, to), QG_TOL_F32_SUM));
    c->be->ops->release(c->be, device_from, 0);
    c->be->ops->release(c->be, device_to, 0);
  }
}

/* The gradient moves a little between two refreshes. */
static void a_warm_start_follows_the_gradient(void **state)
{
  subspace_case *c = *state;
  static float previous[MOST];
  for (int i = 0; i < 3; i++) {
    plant(c, shapes[i], 5.0);
    begin(c, shapes[i], QG_SOLVER_GRAM);
    solve(c);
    end(c);
    memcpy(previous, c->basis, sizeof previous);
    for (int64_t e = 0; e < shapes[i].m * shapes[i].n; e++)
      c->host[e] += 0.02f * (float)((e * 7919) % 101 - 50) / 50.0f;
    spectrum_singular_values(shapes[i].m, shapes[i].n, c->host, c->s);
    begin(c, shapes[i], QG_SOLVER_POWER);
    void *start = device_copy(c, previous);
    c->args.previous = start;
    c->args.more_steps = 0;
    solve(c);
    check_basis(c, 1.0 - QG_TOL_POWER_ENERGY);
    c->be->ops->release(c->be, start, basis_bytes(c));
    end(c);
  }
}

static void solve_from_a_random_start(subspace_case *c, matrix_shape shape)
{
  begin(c, shape, QG_SOLVER_POWER);
  solve(c);
}

/* Of the gradient with the singular values c->s. */
static void expect_a_basis_from_a_random_start(subspace_case *c, matrix_shape shape, double energy_ratio)
{
  spectrum_matrix(shape.m, shape.n, c->s, 7, c->host);
  solve_from_a_random_start(c, shape);
  check_basis(c, energy_ratio);
  end(c);
}

/* Images of the random vectors lie in the space of the few directions there are: Cholesky's factor finds no
 * pivot for the others, and Householder makes up vectors. */
static void dependent_images_give_an_orthonormal_basis(void **state)
{
  subspace_case *c = *state;
  for (int i = 0; i < 3; i++) {
    plant(c, shapes[i], 5.0);
    for (int k = RANK / 2; k < 96; k++) c->s[k] = 0.0;
    expect_a_basis_from_a_random_start(c, shapes[i], 1.0 - QG_TOL_F32_SUM);
  }
}

/* Condition numbers of the images from 1e6, which one pass of Cholesky does not settle, to 1e18. */
static void ill_conditioned_images_give_an_orthonormal_basis(void **state)
{
  subspace_case *c = *state;
  static const double falls[] = {0.5, 0.3, 0.1, 0.03};
  for (int f = 0; f < 4; f++)
    for (int i = 0; i < 3; i++) {
      for (int k = 0; k < 96; k++) c->s[k] = 5.0 * pow(falls[f], k);
      expect_a_basis_from_a_random_start(c, shapes[i], 1.0 - QG_TOL_POWER_ENERGY);
    }
}

/* Products in bf16 of a gradient in several slices, and in one. */
static void power_steps_in_bf16_come_close(void **state)
{
  subspace_case *c = *state;
  static const matrix_shape long_ones[] = {{192, 40}, {40, 192}, {48, 48}};
  qg_backend *single = c->be;
  c->be = open_cuda("bf16");
  assert_non_null(c->be);
  for (int i = 0; i < 3; i++) {
    plant(c, long_ones[i], 5.0);
    solve_from_a_random_start(c, long_ones[i]);
    double energy = spectrum_energy(&c->job, c->basis);
    assert_true(c->args.accepted);
    assert_true(spectrum_orthonormal_error(&c->job, c->basis) < QG_TOL_ORTHONORMAL);
    assert_true(energy >= (1.0 - QG_TOL_POWER_ENERGY) * spectrum_optimal_energy(40, RANK, c->s));
    assert_true(QG_CLOSE(c->args.energy, energy, QG_TOL_ROUNDED_ENERGY));
    end(c);
  }
  c->be->close(c->be);
  c->be = single;
}

static void too_little_energy_is_not_accepted(void **state)
{
  subspace_case *c = *state;
  plant(c, shapes[0], 5.0);
  begin(c, shapes[0], QG_SOLVER_POWER);
  c->args.more_steps = 0;
  c->args.min_energy_ratio = 1.01;
  solve(c);
  assert_false(c->args.accepted);
  end(c);
}

static void what_fp32_cannot_hold_is_left_to_the_host(void **state)
{
  subspace_case *c = *state;
  for (int solver = 0; solver <= QG_SOLVER_SVD; solver++)
    for (int kind = 0; kind < 3; kind++) {
      plant(c, shapes[0], kind == 1 ? 1e-16 : 5.0);
      if (kind == 0) memset(c->host, 0, sizeof c->host);
      if (kind == 2) c->host[100] = NAN;
      begin(c, shapes[0], (qg_device_solver)solver);
      solve(c);
      assert_false(c->args.accepted);
      end(c);
    }
  /* The twelfth value is 1e-4 of the first: its square drowns in an fp32 Gram matrix. */
  plant(c, shapes[0], 5.0);
  for (int i = 0; i < 40; i++) c->s[i] = 5.0 * pow(0.4, i);
  spectrum_matrix(96, 40, c->s, 7, c->host);
  begin(c, shapes[0], QG_SOLVER_GRAM);
  solve(c);
  assert_false(c->args.accepted);
  end(c);
}

/* As from a checkpoint that was damaged in memory. */
static void a_start_that_is_not_finite_is_not_accepted(void **state)
{
  subspace_case *c = *state;
  static float previous[MOST];
  previous[17] = NAN;
  plant(c, shapes[0], 5.0);
  begin(c, shapes[0], QG_SOLVER_POWER);
  void *start = device_copy(c, previous);
  c->args.previous = start;
  solve(c);
  assert_false(c->args.accepted);
  c->be->ops->release(c->be, start, basis_bytes(c));
  end(c);
}

static void the_same_gradient_gives_the_same_bits(void **state)
{
  subspace_case *c = *state;
  static float first[MOST];
  for (int solver = 0; solver <= QG_SOLVER_SVD; solver++) {
    plant(c, shapes[1], 5.0);
    begin(c, shapes[1], (qg_device_solver)solver);
    solve(c);
    memcpy(first, c->basis, sizeof first);
    solve(c);
    assert_memory_equal(first, c->basis, sizeof first);
    end(c);
  }
}

static void a_small_workspace_is_an_error(void **state)
{
  subspace_case *c = *state;
  plant(c, shapes[0], 5.0);
  begin(c, shapes[0], QG_SOLVER_GRAM);
  c->args.workspace_bytes /= 2;
  assert_int_equal(c->be->ops->subspace(c->be, &c->args), QG_ERR_RUNTIME);
  qg_error_clear();
  end(c);
}

int main(void)
{
  static subspace_case c;
  c.be = open_cuda("fp32");
  if (!c.be) return 1;
  struct CMUnitTest tests[] = {
      cmocka_unit_test(the_exact_solution_is_the_best_there_is),
      cmocka_unit_test(singular_vectors_of_the_gradient_confirm_the_exact_solution),
      cmocka_unit_test(a_change_of_basis_is_that_of_the_host),
      cmocka_unit_test(power_steps_from_a_random_start_come_close),
      cmocka_unit_test(a_warm_start_follows_the_gradient),
      cmocka_unit_test(dependent_images_give_an_orthonormal_basis),
      cmocka_unit_test(ill_conditioned_images_give_an_orthonormal_basis),
      cmocka_unit_test(power_steps_in_bf16_come_close),
      cmocka_unit_test(too_little_energy_is_not_accepted),
      cmocka_unit_test(what_fp32_cannot_hold_is_left_to_the_host),
      cmocka_unit_test(a_start_that_is_not_finite_is_not_accepted),
      cmocka_unit_test(the_same_gradient_gives_the_same_bits),
      cmocka_unit_test(a_small_workspace_is_an_error),
  };
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) tests[i].initial_state = &c;
  int failures = cmocka_run_group_tests_name(c.be->description, tests, NULL, NULL);
  c.be->close(c.be);
  return failures;
}
