/* Who solves subspaces is part of the request: the optimizer asks that solver, lives with its failures, and
 * knows nothing else of it. The solver here answers with axes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fixtures/optim_gradients.h"

enum { TOKENS = 40, GAP = 4, MATRICES = 2 * 7, RANK = 24, WORKSPACE = 3 << 20 };

typedef enum { SOLVES, FAILS, FAILS_WIDE, GIVES_UP } manner;

/* What the solver was asked, and how it answers. */
typedef struct {
  manner manner;
  int64_t axis; /* the first vector of its bases is this axis, the others follow it */
  int calls, jobs, largest_call, with_previous;
  const qg_subspace_solver *self;
} record;

/* Room for one job, of how many the call may be. */
static size_t axis_workspace(const qg_subspace_solver *self, const qg_subspace_job *shapes, int count)
{
  (void)self, (void)shapes;
  assert_true(count >= 1);
  return WORKSPACE;
}

static void fill_axes(const qg_subspace_job *job, int64_t axis)
{
  int64_t side = qg_min_i64(job->m, job->n);
  bool right = job->m >= job->n;
  memset(job->basis, 0, (size_t)(job->rank * side) * sizeof(float));
  for (int64_t k = 0; k < job->rank; k++) {
    int64_t j = (axis + k) % side;
    job->basis[right ? k * side + j : j * job->rank + k] = 1.0f;
    job->singular_values[k] = 1.0f;
  }
}

static void answer(record *r, qg_subspace_job *job)
{
  bool fails = r->manner == FAILS || (r->manner == FAILS_WIDE && job->m < job->n);
  r->with_previous += job->previous != NULL;
  assert_non_null(job->gradient);
  job->status = fails ? QG_FAIL(QG_ERR_NUMERICAL, "no subspace today") : QG_OK;
  if (fails) return;
  fill_axes(job, r->axis);
  job->energy = 0.5;
  job->used = QG_SUBSPACE_EXACT;
}

static qg_status axis_solve(const qg_subspace_solver *self, qg_subspace_job *jobs, int count, void *workspace,
                            size_t workspace_bytes)
{
  record *r = self->impl;
  assert_non_null(workspace);
  assert_true(workspace_bytes >= WORKSPACE);
  r->self = self;
  r->calls++;
  r->jobs += count;
  r->largest_call = (int)qg_max_i64(r->largest_call, count);
  if (r->manner == GIVES_UP) return QG_FAIL(QG_ERR_RUNTIME, "the solver is broken");
  for (int i = 0; i < count; i++) answer(r, &jobs[i]);
  return QG_OK;
}

static void open_with(fixture *f, const qg_subspace_solver *solver, int64_t micro_batches)
{
  *f = (fixture){.shape = small_shape(), .options = options_of(QG_METHOD_QGALORE), .solver = solver};
  f->options.projector_bits = 32; /* bases are stored as they are solved */
  f->options.update_gap = GAP;
  f->options.subspace.threads = 2;
  qg_partition part = whole(&f->shape);
  fixture_open(f, &part, "fp32", TOKENS, micro_batches);
}

static qg_subspace_solver axis_solver(record *r)
{
  return (qg_subspace_solver){.impl = r, .workspace = axis_workspace, .solve = axis_solve};
}

/* The number of matrices whose stored basis begins with this axis. */
static int bases_from(const fixture *f, int64_t axis)
{
  int count = 0;
  for (int i = 0; i < param_count(f); i++) {
    const qg_param *p = param_at(f, i);
    if (!is_projected(f, p)) continue;
    float *basis = basis_out(f, p);
    bool right = sink_of(f, p).side == QG_SIDE_RIGHT;
    count += basis[right ? axis : axis * RANK] == 1.0f;
    free(basis);
  }
  return count;
}

static void expect_every_subspace_asked(int64_t micro_batches, int largest_call)
{
  record r = {.axis = 3};
  qg_subspace_solver solver = axis_solver(&r);
  fixture f;
  open_with(&f, &solver, micro_batches);
  noise_step(&f, 0, 0.01);
  assert_int_equal(r.jobs, MATRICES);
  assert_int_equal(r.with_previous, 0);
  assert_int_equal(bases_from(&f, 3), MATRICES);
  noise_step(&f, 1, 0.01);
  assert_int_equal(r.jobs, MATRICES); /* none is due */
  r.axis = 5;
  noise_step(&f, GAP, 0.01);
  assert_int_equal(r.jobs, 2 * MATRICES);
  assert_int_equal(r.with_previous, MATRICES);
  assert_int_equal(r.largest_call, largest_call);
  assert_int_equal(bases_from(&f, 5), MATRICES);
  assert_int_equal(qg_optim_get_stats(f.optim).total_refreshes, 2 * MATRICES);
  fixture_close(&f);
}

/* Alone inside backward; at the end of several micro-batches two for each thread at once. */
static void it_solves_every_subspace(void **state)
{
  (void)state;
  expect_every_subspace_asked(1, 1);
  expect_every_subspace_asked(2, 4);
}

static void what_it_says_is_reported(void **state)
{
  (void)state;
  record r = {.axis = 0};
  qg_subspace_solver solver = axis_solver(&r);
  fixture f;
  int count;
  open_with(&f, &solver, 1);
  noise_step(&f, 0, 0.01);
  r.axis = RANK / 2; /* half of the axes are those of before */
  noise_step(&f, GAP, 0.01);
  const qg_refresh_record *refreshes = qg_optim_refreshes(f.optim, &count);
  assert_int_equal(count, MATRICES);
  for (int i = 0; i < count; i++) {
    assert_true(refreshes[i].energy == 0.5);
    assert_true(refreshes[i].similarity == 0.5);
    assert_int_equal(refreshes[i].used, QG_SUBSPACE_EXACT);
  }
  fixture_close(&f);
}

/* The solver that the caller made may go; the optimizer has a copy, whose impl is the caller's. */
static void it_is_copied(void **state)
{
  (void)state;
  record r = {.axis = 3};
  qg_subspace_solver solver = axis_solver(&r);
  fixture f;
  open_with(&f, &solver, 1);
  memset(&solver, 0, sizeof solver);
  noise_step(&f, 0, 0.01);
  assert_int_equal(r.jobs, MATRICES);
  assert_ptr_not_equal(r.self, &solver);
  fixture_close(&f);
}

static size_t host_workspace(const qg_subspace_solver *solver)
{
  fixture f = {.shape = small_shape(),
               .options = options_of(QG_METHOD_QGALORE),
               .separate_memory = true,
               .solver = solver};
  qg_partition part = whole(&f.shape);
  fixture_open(&f, &part, "fp32", TOKENS, 1);
  size_t bytes = qg_mem_bytes_in(f.mem, QG_SPACE_HOST, QG_OWNER_WORKSPACE);
  fixture_close(&f);
  return bytes;
}

/* In place of the usual one; looked at where it shares its memory with nothing. */
static void its_workspace_is_in_the_ledger(void **state)
{
  (void)state;
  record r = {.axis = 3};
  qg_subspace_solver solver = axis_solver(&r);
  qg_subspace_options usual = options_of(QG_METHOD_QGALORE).subspace;
  qg_subspace_job largest = {.m = 288, .n = 96, .rank = RANK};
  assert_int_equal(host_workspace(&solver) - host_workspace(NULL),
                   WORKSPACE - qg_subspace_workspace(&usual, &largest, 1));
}

static uint32_t digest_with(const qg_subspace_solver *solver, int64_t micro_batches)
{
  fixture f;
  open_with(&f, solver, micro_batches);
  for (int64_t step = 0; step <= GAP; step++) noise_step(&f, step, 0.01);
  uint32_t digest = state_digest(&f);
  fixture_close(&f);
  return digest;
}

static void without_one_the_host_solves(void **state)
{
  (void)state;
  record r = {.axis = 3};
  qg_subspace_options options = options_of(QG_METHOD_QGALORE).subspace;
  qg_subspace_solver host = qg_subspace_host_solver(&options), axes = axis_solver(&r);
  assert_int_equal(digest_with(NULL, 1), digest_with(&host, 1));
  assert_int_equal(digest_with(NULL, 2), digest_with(&host, 2));
  assert_int_not_equal(digest_with(&axes, 1), digest_with(&host, 1));
}

/* --- failures --- */

static void expect_old_subspaces(int64_t micro_batches)
{
  record r = {.axis = 3};
  qg_subspace_solver solver = axis_solver(&r);
  fixture f;
  open_with(&f, &solver, micro_batches);
  noise_step(&f, 0, 0.01);
  r.manner = FAILS;
  r.axis = 5;
  noise_step(&f, GAP, 0.01);
  assert_int_equal(bases_from(&f, 3), MATRICES);
  assert_int_equal(bases_from(&f, 5), 0);
  qg_optim_stats stats = qg_optim_get_stats(f.optim);
  assert_int_equal(stats.failed, MATRICES);
  assert_int_equal(stats.refreshes, 0);
  assert_int_equal(stats.failed_refreshes, MATRICES);
  assert_int_equal(stats.total_refreshes, MATRICES);
  noise_step(&f, GAP + 1, 0.01); /* still due */
  assert_int_equal(r.jobs, 3 * MATRICES);
  assert_int_equal(qg_optim_get_stats(f.optim).failed_refreshes, 2 * MATRICES);
  r.manner = SOLVES;
  noise_step(&f, GAP + 2, 0.01);
  assert_int_equal(bases_from(&f, 5), MATRICES);
  assert_int_equal(qg_optim_get_stats(f.optim).failed, 0);
  assert_int_equal(tracker_of(&f, param_of(&f, QG_ROLE_Q, 0))->last_refresh, GAP + 2);
  fixture_close(&f);
}

static void after_a_failure_the_old_subspace_stays_and_the_refresh_is_due(void **state)
{
  (void)state;
  expect_old_subspaces(1);
  expect_old_subspaces(2);
}

/* Gradients go on in the old subspace: the matrix is updated all the same. */
static void a_matrix_with_an_old_subspace_learns_on(void **state)
{
  (void)state;
  record r = {.axis = 3};
  qg_subspace_solver solver = axis_solver(&r);
  fixture f;
  open_with(&f, &solver, 1);
  const qg_param *p = param_of(&f, QG_ROLE_Q, 0);
  noise_step(&f, 0, 0.01);
  r.manner = FAILS;
  float *before = weight_out(&f, p);
  noise_step(&f, GAP, 0.01);
  float *after = weight_out(&f, p);
  assert_memory_not_equal(before, after, (size_t)qg_param_elements(p) * sizeof *before);
  free(before);
  free(after);
  fixture_close(&f);
}

static void expect_no_update(int64_t micro_batches)
{
  record r = {.manner = FAILS};
  qg_subspace_solver solver = axis_solver(&r);
  fixture f;
  open_with(&f, &solver, micro_batches);
  const qg_param *p = param_of(&f, QG_ROLE_Q, 0);
  float *before = weight_out(&f, p);
  noise_step(&f, 0, 0.01);
  noise_step(&f, 1, 0.01);
  float *after = weight_out(&f, p);
  assert_memory_equal(before, after, (size_t)qg_param_elements(p) * sizeof *before);
  assert_int_equal(r.jobs, 2 * MATRICES);
  assert_int_equal(r.with_previous, 0);
  assert_int_equal(qg_optim_get_stats(f.optim).failed_refreshes, 2 * MATRICES);
  assert_int_equal(tracker_of(&f, p)->last_refresh, -1);
  free(before);
  free(after);
  fixture_close(&f);
}

static void without_an_old_subspace_nothing_moves(void **state)
{
  (void)state;
  expect_no_update(1);
  expect_no_update(2);
}

/* Three matrices of a layer are wider than tall: k and v, which have fewer heads, and down. */
static void one_failure_does_not_keep_the_others(void **state)
{
  (void)state;
  enum { WIDE = 2 * 3 };
  for (int64_t micro_batches = 1; micro_batches <= 2; micro_batches++) {
    record r = {.axis = 3};
    qg_subspace_solver solver = axis_solver(&r);
    fixture f;
    open_with(&f, &solver, micro_batches);
    noise_step(&f, 0, 0.01);
    r.manner = FAILS_WIDE;
    r.axis = 5;
    noise_step(&f, GAP, 0.01);
    assert_int_equal(bases_from(&f, 3), WIDE);
    assert_int_equal(bases_from(&f, 5), MATRICES - WIDE);
    assert_int_equal(qg_optim_get_stats(f.optim).failed, WIDE);
    assert_int_equal(qg_optim_get_stats(f.optim).refreshes, MATRICES - WIDE);
    fixture_close(&f);
  }
}

/* That is no numerical failure of a job but an error of the run. */
static void a_solver_that_gives_up_ends_the_step(void **state)
{
  (void)state;
  record r = {.manner = GIVES_UP};
  qg_subspace_solver solver = axis_solver(&r);
  fixture f;
  open_with(&f, &solver, 1);
  const qg_param *p = param_of(&f, QG_ROLE_Q, 0);
  float *dy = pair_half(&f, p, 0, 0, 0), *x = pair_half(&f, p, 0, 0, 1);
  assert_ok(qg_optim_begin(f.optim, 0));
  assert_int_equal(send_matrix(&f, p, TOKENS, dy, x), QG_ERR_RUNTIME);
  assert_non_null(strstr(qg_error_message(), "the solver is broken"));
  free(dy);
  free(x);
  fixture_close(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_solves_every_subspace),
      cmocka_unit_test(what_it_says_is_reported),
      cmocka_unit_test(it_is_copied),
      cmocka_unit_test(its_workspace_is_in_the_ledger),
      cmocka_unit_test(without_one_the_host_solves),
      cmocka_unit_test(after_a_failure_the_old_subspace_stays_and_the_refresh_is_due),
      cmocka_unit_test(a_matrix_with_an_old_subspace_learns_on),
      cmocka_unit_test(without_an_old_subspace_nothing_moves),
      cmocka_unit_test(one_failure_does_not_keep_the_others),
      cmocka_unit_test(a_solver_that_gives_up_ends_the_step),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
