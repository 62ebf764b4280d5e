#include "optim/refresher.h"

#include <stdlib.h>

#include "qgalore/base.h"
#include "qgalore/linalg/distributed.h"

/* Memory that the host reads and writes; in unified memory the device does too. */
static qg_status take_for_host(const qg_optim_context *o, const char *what, size_t bytes, void *out)
{
  if (o->be->ops->unified_memory) return qg_mem_alloc(o->mem, QG_OWNER_WORKSPACE, what, bytes, out);
  return qg_mem_alloc_host(o->mem, QG_OWNER_WORKSPACE, what, bytes, out);
}

static qg_status take_rotation(qg_optim_context *o, const qg_scratch_sizes *sizes)
{
  qg_optim_scratch *scratch = &o->scratch;
  size_t bytes = qg_dtype_bytes(QG_F32, 2 * sizes->rank * sizes->rank);
  bool device = !o->be->ops->unified_memory && (o->options.rotate_moments || o->be->ops->basis_change);
  QG_TRY(take_for_host(o, "a change of basis", bytes, (void **)&o->refresher->rotation));
  scratch->rotation = o->refresher->rotation;
  if (!device) return QG_OK;
  return qg_mem_alloc(o->mem, QG_OWNER_WORKSPACE, "a change of basis", bytes, (void **)&scratch->rotation);
}

/* Subspaces that wait for each other are solved in waves on the host, and one after the other on a device;
 * what that leaves to the host comes alone. */
static bool solves_waves(const qg_optim_context *o)
{
  return !o->be->ops->subspace;
}

/* Several subspaces at once keep all threads busy while single ones wait for their last BLAS calls. */
static int choose_wave(const qg_optim_context *o, const qg_scratch_sizes *sizes)
{
  int most = 2 * (int)qg_max_i64(1, o->options.subspace.threads);
  int wave = sizes->waiting < most ? sizes->waiting : most;
  return wave > 1 && solves_waves(o) ? wave : sizes->projected > 0;
}

static qg_subspace_job shape_of(const qg_projected *p, qg_implicit_gradient *implicit)
{
  int64_t tokens = p->sink.o->tokens;
  *implicit = (qg_implicit_gradient){.dy = {.rows = tokens}, .x = {.rows = tokens}};
  return (qg_subspace_job){.m = p->sink.param->rows,
                           .n = p->sink.param->cols,
                           .rank = p->projector.rank,
                           .implicit = p->route == QG_REFRESH_IMPLICIT ? implicit : NULL};
}

/* One at a time: the matrix that needs most. Several: no wave of them asks for more than all of them
 * together. A matrix that all ranks solve together is its owner's alone when they fail. */
static qg_status measure_solver(const qg_optim_context *o, qg_projected *const *projected, int count,
                                size_t *bytes)
{
  const qg_subspace_solver *solver = &o->solver;
  qg_subspace_job *shapes = NULL;
  QG_TRY(qg_calloc((size_t)count, sizeof *shapes, "shapes of subspaces", (void **)&shapes));
  qg_implicit_gradient implicit;
  int waves = 0;
  *bytes = 0;
  for (int i = 0; i < count; i++) {
    const qg_projected *p = projected[i];
    if (!p->sink.param->held) continue;
    qg_subspace_job shape = shape_of(p, &implicit);
    *bytes = qg_max_size(*bytes, solver->workspace(solver, &shape, 1));
    if (p->route == QG_REFRESH_ACCUMULATED && solves_waves(o)) shapes[waves++] = shape;
  }
  if (waves > 0) *bytes = qg_max_size(*bytes, solver->workspace(solver, shapes, waves));
  free(shapes);
  return QG_OK;
}

/* What a device's solver wants with and without a basis to start from, and what validates both. */
static size_t device_bytes(const qg_projected *p)
{
  const qg_optim_context *o = p->sink.o;
  int64_t m = p->sink.param->rows, n = p->sink.param->cols, rank = p->projector.rank;
  size_t most = 0;
  for (int warm = 0; warm < 2; warm++) {
    qg_subspace_try first = qg_subspace_first_try(o->options.subspace.method, m, n, warm);
    qg_device_solver solver = first.exact ? QG_SOLVER_GRAM : QG_SOLVER_POWER;
    most = qg_max_size(most, o->be->ops->subspace_bytes(o->be, m, n, rank, solver));
  }
  if (!o->options.validate_subspaces) return most;
  return qg_max_size(most, o->be->ops->subspace_bytes(o->be, m, n, rank, QG_SOLVER_SVD));
}

static qg_status take_device_solver(qg_optim_context *o, qg_projected *const *projected, int count)
{
  qg_refresher *r = o->refresher;
  int bases = o->options.validate_subspaces ? 2 : 1;
  if (!o->be->ops->subspace) return QG_OK;
  for (int i = 0; i < count; i++)
    if (projected[i]->sink.param->held && projected[i]->route != QG_REFRESH_DISTRIBUTED)
      r->device_workspace_bytes = qg_max_size(r->device_workspace_bytes, device_bytes(projected[i]));
  return qg_mem_alloc(o->mem, QG_OWNER_WORKSPACE, "new subspaces on the device",
                      qg_dtype_bytes(QG_F32, bases * r->basis_stride), (void **)&r->device_basis);
}

static qg_status take_jobs(qg_optim_context *o, qg_projected *const *projected, int count)
{
  qg_refresher *r = o->refresher;
  QG_TRY(measure_solver(o, projected, count, &r->workspace_bytes));
  QG_TRY(take_device_solver(o, projected, count));
  if (!o->be->ops->unified_memory)
    QG_TRY(qg_mem_alloc_host(o->mem, QG_OWNER_WORKSPACE, "the subspace solver", r->workspace_bytes,
                             &r->workspace));
  QG_TRY(qg_calloc((size_t)r->wave, sizeof *r->jobs, "subspace jobs", (void **)&r->jobs));
  return qg_calloc((size_t)r->wave, sizeof *r->pending, "pending refreshes", (void **)&r->pending);
}

static qg_status take_bases(qg_optim_context *o, const qg_scratch_sizes *sizes)
{
  qg_refresher *r = o->refresher;
  size_t bases = qg_dtype_bytes(QG_F32, r->wave * sizes->basis);
  QG_TRY(take_for_host(o, "old subspaces", bases, (void **)&r->previous));
  QG_TRY(take_for_host(o, "new subspaces", bases, (void **)&r->basis));
  QG_TRY(take_for_host(o, "singular values", qg_dtype_bytes(QG_F32, r->wave * sizes->rank),
                       (void **)&r->singular_values));
  if (o->be->ops->unified_memory) return QG_OK;
  return qg_mem_alloc_host(o->mem, QG_OWNER_GRADIENTS, "gradients on the host",
                           qg_dtype_bytes(QG_F32, r->wave * sizes->full), (void **)&r->gradients);
}

/* Every rank has a part in every distributed solution, whoever holds the matrix. */
static qg_status take_distributed(qg_optim_context *o, qg_projected *const *projected, int count)
{
  qg_refresher *r = o->refresher;
  int ranks = o->options.all_ranks > 0 ? o->options.all_ranks : 1;
  for (int i = 0; i < count; i++) {
    const qg_param *param = projected[i]->sink.param;
    size_t bytes;
    if (projected[i]->route != QG_REFRESH_DISTRIBUTED) continue;
    QG_TRY(qg_subspace_distributed_workspace(o->options.this_rank, ranks, param->held, param->rows,
                                             param->cols, projected[i]->projector.rank, &bytes));
    r->distributed_bytes = qg_max_size(r->distributed_bytes, bytes);
  }
  return qg_mem_alloc_host(o->mem, QG_OWNER_WORKSPACE, "a subspace solved by all ranks", r->distributed_bytes,
                           &r->distributed);
}

qg_status qg_refresher_open(qg_optim_context *o, qg_projected *const *projected, int count, int parameters,
                            const qg_scratch_sizes *sizes)
{
  qg_refresher *r = NULL;
  QG_TRY(qg_calloc(1, sizeof *r, "the refresher of subspaces", (void **)&r));
  o->refresher = r;
  QG_TRY(qg_calloc((size_t)parameters, sizeof *r->records, "records of refreshes", (void **)&r->records));
  r->wave = choose_wave(o, sizes);
  r->basis_stride = sizes->basis;
  r->gradient_stride = sizes->full;
  r->rank_stride = sizes->rank;
  if (r->wave > 0) {
    QG_TRY(take_bases(o, sizes));
    QG_TRY(take_rotation(o, sizes));
    QG_TRY(take_jobs(o, projected, count));
  }
  return take_distributed(o, projected, count);
}

void qg_refresher_close(qg_refresher *r)
{
  if (!r) return;
  free(r->jobs);
  free(r->pending);
  free(r->records);
  free(r);
}

void qg_refresher_begin(qg_refresher *r)
{
  r->step_refreshes = r->step_failed = 0;
}

void qg_refresher_note(qg_refresher *r, qg_projected *p, double similarity, double energy,
                       qg_subspace_method used)
{
  qg_optim_context *o = p->sink.o;
  p->pending = false;
  o->guard.state_modified = true;
  qg_tracker_refreshed(&p->tracker, o->step, similarity, &o->options);
  r->records[r->step_refreshes++] = (qg_refresh_record){.param = p->sink.index,
                                                        .similarity = similarity,
                                                        .energy = energy,
                                                        .interval = p->tracker.interval,
                                                        .used = used};
}

double qg_refresher_mean_energy(const qg_refresher *r)
{
  double sum = 0.0;
  for (int i = 0; i < r->step_refreshes; i++) sum += r->records[i].energy;
  return r->step_refreshes > 0 ? sum / r->step_refreshes : 0.0;
}
