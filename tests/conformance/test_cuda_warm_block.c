/* Warm subspaces on the device, of a block of which only the last vectors are chosen by an eigenproblem: what
 * they capture, and what they ask of the device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <math.h>

#include "support/cudaemu/counts.h"
#include "support/fixtures/cuda_device.h"
#include "support/fixtures/tolerances.h"
#include "support/reference/known_spectrum.h"

enum { RANK = 256, SIDE = 288, LENGTH = 304, BLOCK = RANK + 16, CONTENDERS = 256, KEPT = CONTENDERS - 16 };

static const size_t GRADIENT_BYTES = LENGTH * SIDE * sizeof(float), BASIS_BYTES = RANK * SIDE * sizeof(float);

/* What the emulation counts; NULL on a device. */
static cudaemu_counts *counts;

static float gradient[LENGTH * SIDE], first[RANK * SIDE], next[RANK * SIDE];

static void *device_memory(qg_backend *be, size_t bytes, const float *host)
{
  void *memory;
  assert_int_equal(be->ops->alloc(be, bytes, &memory), QG_OK);
  if (host) assert_int_equal(be->ops->copy_in(be, memory, host, bytes), QG_OK);
  return memory;
}

/* From `start` (host), or from random vectors if it is NULL. The basis goes to `out`; returns the energy that
 * the device tells, and in *asked what it was asked for. */
static double solve(qg_backend *be, const qg_subspace_job *job, const float *start, float *out,
                    cudaemu_counts *asked)
{
  qg_subspace_args a = {.rank = RANK, .solver = QG_SOLVER_POWER, .min_energy_ratio = 0.9, .seed = 3};
  a.workspace_bytes = be->ops->subspace_bytes(be, job->m, job->n, RANK, a.solver);
  a.workspace = device_memory(be, a.workspace_bytes, NULL);
  a.gradient = qg_view_make(device_memory(be, GRADIENT_BYTES, job->gradient), QG_F32, job->m, job->n);
  a.basis = device_memory(be, BASIS_BYTES, NULL);
  float *previous = start ? device_memory(be, BASIS_BYTES, start) : NULL;
  a.previous = previous;
  cudaemu_counts before = counts ? *counts : (cudaemu_counts){0};
  if (be->ops->subspace(be, &a) != QG_OK) fail_msg("%s", qg_error_message());
  long waits = counts ? counts->waits - before.waits : 0;
  assert_true(a.accepted);
  assert_int_equal(be->ops->copy_out(be, out, a.basis, BASIS_BYTES), QG_OK);
  if (counts) /* all is done by then, in any order of streams */
    *asked = (cudaemu_counts){.waits = waits,
                              .bf16_flop = counts->bf16_flop - before.bf16_flop,
                              .f32_flop = counts->f32_flop - before.f32_flop};
  be->ops->release(be, a.gradient.data, GRADIENT_BYTES);
  be->ops->release(be, a.workspace, a.workspace_bytes);
  be->ops->release(be, a.basis, BASIS_BYTES);
  if (previous) be->ops->release(be, previous, BASIS_BYTES);
  return a.energy;
}

static qg_subspace_job plant(bool left, double *s)
{
  qg_subspace_job job = {
      .m = left ? SIDE : LENGTH, .n = left ? LENGTH : SIDE, .rank = RANK, .gradient = gradient};
  for (int i = 0; i < SIDE; i++) s[i] = pow(0.98, i);
  spectrum_matrix(job.m, job.n, s, 7, gradient);
  return job;
}

/* The first vectors of a warm block keep their places, the last ones are chosen anew. */
static void the_last_places_go_to_those_with_most_energy(void **state)
{
  qg_backend *be = open_cuda("fp32");
  cudaemu_counts asked;
  double s[SIDE];
  (void)state;
  assert_non_null(be);
  for (int left = 0; left < 2; left++) {
    qg_subspace_job job = plant(left, s);
    solve(be, &job, NULL, first, &asked);
    for (int e = 0; e < LENGTH * SIDE; e++) gradient[e] += 2e-5f * (float)((e * 7919) % 101 - 50);
    spectrum_singular_values(job.m, job.n, gradient, s);
    double told = solve(be, &job, first, next, &asked), energy = spectrum_energy(&job, next);
    assert_true(spectrum_orthonormal_error(&job, next) < QG_TOL_ORTHONORMAL);
    assert_true(energy >= (1.0 - QG_TOL_POWER_ENERGY) * spectrum_optimal_energy(SIDE, RANK, s));
    assert_true(energy >= spectrum_energy(&job, first));
    assert_true(QG_CLOSE(told, energy, QG_TOL_F32_SUM));
  }
  be->close(be);
}

/* The table of doc/measurements.md: four products of the block with the gradient, Ritz matrix and mixture of
 * the candidates; the host waits for one or two passes of Cholesky and for the energy. */
static void a_warm_refresh_asks_for_four_products_and_few_waits(void **state)
{
  (void)state;
  if (!counts) skip();
  qg_backend *be = open_cuda("bf16");
  cudaemu_counts asked;
  double s[SIDE];
  assert_non_null(be);
  for (int left = 0; left < 2; left++) {
    qg_subspace_job job = plant(left, s);
    solve(be, &job, NULL, first, &asked);
    solve(be, &job, first, next, &asked);
    assert_true(asked.bf16_flop == 4.0 * 2.0 * LENGTH * SIDE * BLOCK);
    assert_true(asked.f32_flop == 2.0 * LENGTH * CONTENDERS * CONTENDERS + 2.0 * KEPT * CONTENDERS * SIDE);
    assert_in_range(asked.waits, 2, 3);
  }
  be->close(be);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_last_places_go_to_those_with_most_energy),
      cmocka_unit_test(a_warm_refresh_asks_for_four_products_and_few_waits),
  };
  choose_plugin();
  void *plugin = dlopen(getenv("QGALORE_CUDA_PLUGIN"), RTLD_NOW | RTLD_LOCAL);
  counts = plugin ? dlsym(plugin, "cudaemu_counted") : NULL;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
