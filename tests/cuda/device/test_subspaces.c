/* The device's three ways to a subspace, at a size that matters: the SVD of the gradient itself judges the
 * eigenvectors of the Gram matrix and the block power steps. QG_SUBSPACE_SIDE: the short side (1024). */
#include "cmocka.h"

#include <math.h>
#include <stdlib.h>

#include "qgalore/base.h"
#include "support/fixtures/cuda_device.h"
#include "support/fixtures/tolerances.h"

typedef struct {
  qg_backend *be;
  int64_t side, rank;
} context;

/* A gradient and one solution of it. */
typedef struct {
  qg_subspace_args args;
  size_t gradient_bytes, basis_bytes;
} problem;

static float noise(int64_t i, uint32_t tensor)
{
  return 2.0f * qg_rng_unit_at((qg_rng){11, 0, tensor, QG_RNG_INIT}, (uint64_t)i) - 1.0f;
}

/* Directions that fall by a twentieth each over a floor of noise, sum_k 0.95^k x_k y_k^T + 0.01 z, with a
 * step at the rank: the subspace of the first `rank` is well determined. */
static float *make_gradient(int64_t m, int64_t n, int64_t rank)
{
  float *g = malloc((size_t)(m * n) * sizeof *g);
  assert_non_null(g);
  for (int64_t e = 0; e < m * n; e++) g[e] = 0.01f * noise(e, 1);
  for (int64_t k = 0; k < 2 * rank; k++) {
    float weight = powf(0.95f, (float)k) * (k < rank ? 1.0f : 0.25f);
    for (int64_t i = 0; i < m; i++) {
      float x = weight * noise(k * m + i, 2);
      for (int64_t j = 0; j < n; j++) g[i * n + j] += x * noise(k * n + j, 3);
    }
  }
  return g;
}

static void *device_memory(const context *c, size_t bytes)
{
  void *memory;
  assert_int_equal(c->be->ops->alloc(c->be, bytes, &memory), QG_OK);
  return memory;
}

static problem solve(const context *c, const float *host, int64_t m, int64_t n, qg_device_solver solver)
{
  problem p = {.gradient_bytes = (size_t)(m * n) * sizeof(float),
               .basis_bytes = (size_t)(c->rank * qg_min_i64(m, n)) * sizeof(float)};
  float *values = malloc((size_t)c->rank * sizeof *values);
  p.args = (qg_subspace_args){
      .rank = c->rank, .solver = solver, .more_steps = 6, .seed = 5, .singular_values = values};
  p.args.gradient = qg_view_make(device_memory(c, p.gradient_bytes), QG_F32, m, n);
  p.args.basis = device_memory(c, p.basis_bytes);
  p.args.workspace_bytes = c->be->ops->subspace_bytes(c->be, m, n, c->rank, solver);
  p.args.workspace = device_memory(c, p.args.workspace_bytes);
  assert_int_equal(c->be->ops->copy_in(c->be, p.args.gradient.data, host, p.gradient_bytes), QG_OK);
  assert_int_equal(c->be->ops->subspace(c->be, &p.args), QG_OK);
  assert_true(p.args.accepted);
  c->be->ops->release(c->be, p.args.gradient.data, p.gradient_bytes);
  c->be->ops->release(c->be, p.args.workspace, p.args.workspace_bytes);
  free(values);
  return p;
}

static double overlap_of(const context *c, const problem *from, const problem *to, int64_t m, int64_t n)
{
  size_t bytes = 2 * (size_t)(c->rank * c->rank) * sizeof(float);
  float *rotation = device_memory(c, bytes);
  qg_basis_change_args args = {m < n, c->rank, qg_min_i64(m, n), from->args.basis, to->args.basis, rotation,
                               0,     0};
  assert_int_equal(c->be->ops->basis_change(c->be, &args), QG_OK);
  c->be->ops->release(c->be, rotation, bytes);
  return args.overlap;
}

static void compare(const context *c, int64_t m, int64_t n, qg_device_solver solver, double energy,
                    double overlap)
{
  float *host = make_gradient(m, n, c->rank);
  problem truth = solve(c, host, m, n, QG_SOLVER_SVD), other = solve(c, host, m, n, solver);
  double lost = 1.0 - other.args.energy / truth.args.energy, shared = overlap_of(c, &truth, &other, m, n);
  printf("# [%lld, %lld], rank %lld: energy %.8f, %.1e below the SVD's, overlap %.7f\n", (long long)m,
         (long long)n, (long long)c->rank, other.args.energy, lost, shared);
  assert_true(fabs(lost) <= energy);
  assert_true(shared >= 1.0 - overlap);
  c->be->ops->release(c->be, truth.args.basis, truth.basis_bytes);
  c->be->ops->release(c->be, other.args.basis, other.basis_bytes);
  free(host);
}

/* Square, more outputs, more inputs: the three kinds of a layer. */
static void each_shape(const context *c, qg_device_solver solver, double energy, double overlap)
{
  compare(c, c->side, c->side, solver, energy, overlap);
  compare(c, 2 * c->side, c->side, solver, energy, overlap);
  compare(c, c->side, 2 * c->side, solver, energy, overlap);
}

static void eigenvectors_of_the_gram_matrix_are_singular_vectors(void **state)
{
  each_shape(*state, QG_SOLVER_GRAM, QG_TOL_F32_SUM, QG_TOL_SUBSPACE_DISTANCE);
}

static void block_power_steps_capture_the_energy(void **state)
{
  each_shape(*state, QG_SOLVER_POWER, QG_TOL_POWER_ENERGY, 1.0);
}

int main(void)
{
  const char *side = getenv("QG_SUBSPACE_SIDE");
  context c = {.be = open_cuda("fp32"), .side = side ? atoi(side) : 1024};
  if (!c.be) return 77;
  c.rank = c.side / 16;
  struct CMUnitTest tests[] = {
      cmocka_unit_test(eigenvectors_of_the_gram_matrix_are_singular_vectors),
      cmocka_unit_test(block_power_steps_capture_the_energy),
  };
  for (int i = 0; i < QG_COUNT_OF(tests); i++) tests[i].initial_state = &c;
  int failures = cmocka_run_group_tests_name("subspaces on the device", tests, NULL, NULL);
  c.be->close(c.be);
  return failures;
}
