/* Refreshes on a device that solves subspaces itself: it is asked for every one, and what it refuses the host
 * solves. The device here is the CPU backend with the host's solver behind the operation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_gradients.h"
#include "support/fixtures/tolerances.h"

enum { TOKENS = 40, STEPS = 3, HOST_WORKSPACE = 1 << 20, WORKSPACE = 4 << 20, SVD_WORKSPACE = 5 << 20 };

/* What the device was asked, and whether it refuses. */
static struct {
  int calls, exact, with_previous, changes, validations, host_copies, copies_of_steps;
  bool refuses, validates;
} device;

static size_t device_bytes_wanted(qg_backend *be, int64_t m, int64_t n, int64_t rank, qg_device_solver solver)
{
  (void)be, (void)m, (void)n, (void)rank;
  return solver == QG_SOLVER_SVD ? SVD_WORKSPACE : solver == QG_SOLVER_GRAM ? WORKSPACE : WORKSPACE / 2;
}

static qg_status device_basis_change(qg_backend *be, qg_basis_change_args *a)
{
  qg_side side = a->left ? QG_SIDE_LEFT : QG_SIDE_RIGHT;
  int64_t count = a->rank * a->rank;
  (void)be;
  device.changes++;
  qg_subspace_rotation(side, a->d, a->rank, a->from, a->to, a->rotation);
  for (int64_t i = 0; i < count; i++) a->rotation[count + i] = a->rotation[i] * a->rotation[i];
  a->overlap = qg_subspace_overlap(a->rank, a->rotation);
  a->cosine = qg_subspace_cosine(side, a->d, a->rank, a->from, a->to);
  return QG_OK;
}

/* Transfers of more than a number. */
static qg_status counted_copy(qg_backend *be, void *to, const void *from, size_t bytes)
{
  (void)be;
  device.host_copies += bytes > (size_t)TOKENS * sizeof(double);
  memcpy(to, from, bytes);
  return QG_OK;
}

static qg_status device_subspace(qg_backend *be, qg_subspace_args *a)
{
  (void)be;
  device.calls++;
  device.exact += a->solver == QG_SOLVER_GRAM;
  device.validations += a->solver == QG_SOLVER_SVD;
  device.with_previous += a->previous != NULL;
  assert_non_null(a->workspace);
  a->accepted = !device.refuses;
  if (device.refuses) return QG_OK;
  qg_subspace_options options = {.method = QG_SUBSPACE_EXACT, .threads = 1};
  qg_subspace_job job = {.m = a->gradient.rows,
                         .n = a->gradient.cols,
                         .rank = a->rank,
                         .gradient = a->gradient.data,
                         .basis = a->basis,
                         .singular_values = a->singular_values};
  size_t bytes = qg_subspace_workspace(&options, &job, 1);
  void *workspace = malloc(bytes);
  assert_non_null(workspace);
  assert_ok(qg_subspace_solve(&options, &job, 1, workspace, bytes));
  free(workspace);
  a->energy = job.energy;
  return job.status;
}

static void put_device_in(counting_backend *counter)
{
  counter->ops.subspace = device_subspace;
  counter->ops.subspace_bytes = device_bytes_wanted;
  counter->ops.basis_change = device_basis_change;
}

/* A small model whose first subspaces are due at step 0 and the next ones two steps later. */
static void open_small(fixture *f, qg_subspace_method method, bool with_device)
{
  *f = (fixture){.shape = small_shape(), .options = options_of(QG_METHOD_QGALORE)};
  f->options.subspace.method = method;
  f->options.update_gap = 2;
  f->options.rotate_moments = true;
  f->options.validate_subspaces = device.validates;
  qg_partition part = whole(&f->shape);
  counting_open(&f->counter, "fp32");
  if (with_device) put_device_in(&f->counter);
  f->counter.ops.copy_in = f->counter.ops.copy_out = counted_copy;
  fixture_start(f, &part, TOKENS, 1);
}

/* One number for the state after some steps. */
static uint32_t digest_of_run(qg_subspace_method method, bool with_device, bool refuses)
{
  fixture f;
  memset(&device, 0, sizeof device);
  device.refuses = refuses;
  open_small(&f, method, with_device);
  device.host_copies = 0;
  for (int64_t step = 0; step < STEPS; step++) noise_step(&f, step, 0.01);
  device.copies_of_steps = device.host_copies;
  uint32_t digest = state_digest(&f);
  fixture_close(&f);
  return digest;
}

/* The largest basis of the small model: rank 24 of a short side of 96. */
enum { BASIS_BYTES = 24 * 96 * sizeof(float) };

/* Seven matrices in each of two layers, at steps 0 and 2. */
enum { REFRESHES = 2 * 7 * 2 };

static void the_device_is_asked_for_every_subspace(void **state)
{
  (void)state;
  uint32_t host = digest_of_run(QG_SUBSPACE_EXACT, false, false);
  assert_int_equal(device.calls, 0);
  assert_int_equal(digest_of_run(QG_SUBSPACE_EXACT, true, false), host);
  assert_int_equal(device.calls, REFRESHES);
  assert_int_equal(device.exact, REFRESHES);
  assert_int_equal(device.changes, REFRESHES / 2);
}

static void the_host_solves_what_the_device_refuses(void **state)
{
  (void)state;
  uint32_t host = digest_of_run(QG_SUBSPACE_EXACT, false, false);
  assert_int_equal(digest_of_run(QG_SUBSPACE_EXACT, true, true), host);
  assert_int_equal(device.calls, REFRESHES);
}

/* The host's way reads the old basis, if there is one, and writes the new one. The test's gradients come in
 * both runs. */
static void bases_do_not_go_through_the_host(void **state)
{
  (void)state;
  digest_of_run(QG_SUBSPACE_EXACT, true, false);
  int gradients = device.copies_of_steps;
  digest_of_run(QG_SUBSPACE_EXACT, false, false);
  assert_int_equal(device.copies_of_steps - gradients, REFRESHES / 2 + REFRESHES);
}

static void every_subspace_is_validated_where_that_is_asked_for(void **state)
{
  (void)state;
  fixture f;
  memset(&device, 0, sizeof device);
  device.validates = true;
  open_small(&f, QG_SUBSPACE_EXACT, true);
  for (int64_t step = 0; step < STEPS; step++) noise_step(&f, step, 0.01);
  qg_subspace_validation v = qg_optim_validation(f.optim);
  assert_int_equal(device.validations, REFRESHES);
  assert_int_equal(v.count, REFRESHES);
  assert_true(v.lost_energy == 0 && QG_CLOSE(v.overlap, 1.0, QG_TOL_F32_SUM));
  fixture_close(&f);
}

static void validation_takes_memory_only_then(void **state)
{
  (void)state;
  fixture with, without;
  memset(&device, 0, sizeof device);
  open_small(&without, QG_SUBSPACE_EXACT, true);
  device.validates = true;
  open_small(&with, QG_SUBSPACE_EXACT, true);
  size_t more = qg_mem_bytes(with.mem, QG_OWNER_WORKSPACE) - qg_mem_bytes(without.mem, QG_OWNER_WORKSPACE);
  assert_int_equal(more, SVD_WORKSPACE - WORKSPACE + BASIS_BYTES);
  device.validates = false;
  fixture_close(&with);
  fixture_close(&without);
}

static void the_first_is_exact_and_the_next_ones_are_warm(void **state)
{
  (void)state;
  digest_of_run(QG_SUBSPACE_AUTO, true, false);
  assert_int_equal(device.exact, REFRESHES / 2);
  assert_int_equal(device.with_previous, REFRESHES / 2);
}

/* Where the host solves, its own workspace lies in the same place. */
static void its_workspace_is_in_the_ledger(void **state)
{
  (void)state;
  fixture with, without;
  open_small(&with, QG_SUBSPACE_EXACT, true);
  open_small(&without, QG_SUBSPACE_EXACT, false);
  size_t more = qg_mem_bytes(with.mem, QG_OWNER_WORKSPACE) - qg_mem_bytes(without.mem, QG_OWNER_WORKSPACE);
  assert_in_range(more, WORKSPACE + BASIS_BYTES - HOST_WORKSPACE, WORKSPACE + BASIS_BYTES);
  fixture_close(&with);
  fixture_close(&without);
}

/* Of matrices that wait for the whole batch. */
static size_t host_gradients(bool with_device)
{
  fixture f = {.shape = small_shape(), .options = options_of(QG_METHOD_QGALORE)};
  qg_partition part = whole(&f.shape);
  counting_open(&f.counter, "fp32");
  f.options.subspace.threads = 4;
  f.counter.ops.unified_memory = false;
  if (with_device) put_device_in(&f.counter);
  fixture_start(&f, &part, TOKENS, 2);
  size_t bytes = qg_mem_bytes_in(f.mem, QG_SPACE_HOST, QG_OWNER_GRADIENTS);
  fixture_close(&f);
  return bytes;
}

/* The host alone solves two for each thread at once. */
static void beside_a_device_the_host_has_room_for_one_gradient(void **state)
{
  (void)state;
  qg_model_shape shape = small_shape();
  size_t largest = qg_dtype_bytes(QG_F32, shape.hidden_size * shape.intermediate_size);
  assert_int_equal(host_gradients(true), largest);
  assert_int_equal(host_gradients(false), 8 * largest);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_device_is_asked_for_every_subspace),
      cmocka_unit_test(the_host_solves_what_the_device_refuses),
      cmocka_unit_test(bases_do_not_go_through_the_host),
      cmocka_unit_test(every_subspace_is_validated_where_that_is_asked_for),
      cmocka_unit_test(validation_takes_memory_only_then),
      cmocka_unit_test(the_first_is_exact_and_the_next_ones_are_warm),
      cmocka_unit_test(its_workspace_is_in_the_ledger),
      cmocka_unit_test(beside_a_device_the_host_has_room_for_one_gradient),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
