/* Scratch of the optimizer: as much as the largest parameter held here asks for. */
#include <stdlib.h>

#include "optim/internal.h"
#include "qgalore/base.h"
#include "qgalore/linalg/distributed.h"

static void widen(int64_t *largest, int64_t value)
{
  *largest = qg_max_i64(*largest, value);
}

static void measure_pair(const qg_optim_param *p, qg_optim_extents *e)
{
  int64_t count = qg_subspace_block(p->policy.rank, qg_min_i64(p->info.rows, p->info.cols));
  widen(&e->pair_count, count);
  widen(&e->pair_block, count * qg_max_i64(p->info.rows, p->info.cols));
}

static void measure_projected(const qg_optim *optim, const qg_optim_param *p, qg_optim_extents *e)
{
  const qg_optim_policy *policy = &p->policy;
  int64_t block = policy->moments8 ? optim->options.moment_block : 1;
  widen(&e->update, qg_optim_chunk_rows(optim, p->info.rows, p->info.cols, QG_GROUP) * p->info.cols);
  widen(&e->basis, qg_optim_basis_elements(p));
  widen(&e->delta, qg_optim_grad_elements(p));
  widen(&e->rank, policy->rank);
  widen(&e->full, qg_optim_elements(p));
  widen(&e->mixed,
        qg_optim_chunk_rows(optim, policy->grad_rows, policy->grad_cols, block) * policy->grad_cols);
  if (policy->fused) widen(&e->fused, qg_optim_grad_elements(p));
  if (policy->route == QG_ROUTE_PAIR) measure_pair(p, e);
  if (policy->route == QG_ROUTE_FORMED || (policy->route == QG_ROUTE_PAIR && optim->options.full_gradient))
    widen(&e->formed, qg_optim_elements(p));
  e->projected++;
  e->waiting += policy->route == QG_ROUTE_GATHERED;
}

static void measure_dense(const qg_optim *optim, const qg_optim_param *p, qg_optim_extents *e)
{
  if (!p->policy.fused) return;
  e->dense_bytes =
      qg_max_size(e->dense_bytes, qg_dtype_bytes(p->policy.grad_type, qg_optim_grad_elements(p)));
  e->head_in_scratch |= p->info.role == QG_ROLE_HEAD && qg_optim_wants_weight_scratch(optim, p);
}

static qg_optim_extents measure(const qg_optim *optim)
{
  qg_optim_extents e = {0};
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (!p->held) continue;
    e.int8 += p->policy.int8;
    if (qg_optim_wants_weight_scratch(optim, p))
      widen(&e.weight, p->info.rows * qg_padded_stride(p->info.cols));
    widen(&e.update, qg_min_i64(qg_optim_elements(p), qg_optim_chunk_elements(optim)));
    if (p->policy.projected) measure_projected(optim, p, &e);
    else
      measure_dense(optim, p, &e);
  }
  return e;
}

static qg_status take(qg_optim *optim, const char *what, qg_dtype type, int64_t elements, void **out)
{
  return qg_mem_alloc(optim->mem, QG_OWNER_WORKSPACE, what, qg_dtype_bytes(type, elements), out);
}

/* Memory that the host reads and writes; in unified memory the device does too. */
static qg_status take_for_host(qg_optim *optim, const char *what, size_t bytes, void **out)
{
  if (optim->be->ops->unified_memory) return qg_mem_alloc(optim->mem, QG_OWNER_WORKSPACE, what, bytes, out);
  return qg_mem_alloc_host(optim->mem, QG_OWNER_WORKSPACE, what, bytes, out);
}

static qg_status take_updates(qg_optim *optim, const qg_optim_extents *e)
{
  qg_optim_scratch *scratch = &optim->scratch;
  void *memory;
  QG_TRY(take(optim, "a projector", QG_F32, e->basis, &scratch->projector));
  QG_TRY(take(optim, "rows of an update", QG_F32, e->update, &memory));
  scratch->update = scratch->update_host = memory;
  scratch->update_elements = e->update;
  if (!optim->be->ops->unified_memory) {
    QG_TRY(take_for_host(optim, "fresh weights", qg_dtype_bytes(QG_F32, e->update), &memory));
    scratch->update_host = memory;
  }
  QG_TRY(
      qg_mem_alloc(optim->mem, QG_OWNER_WORKSPACE, "sums of squares", qg_optim_sums_bytes(optim), &memory));
  scratch->sums = memory;
  return QG_OK;
}

static qg_status take_rotation(qg_optim *optim, const qg_optim_extents *e)
{
  qg_optim_scratch *scratch = &optim->scratch;
  int64_t elements = 2 * e->rank * e->rank;
  void *memory;
  QG_TRY(take_for_host(optim, "a change of basis", qg_dtype_bytes(QG_F32, elements), &memory));
  optim->refresher.rotation = scratch->rotation = memory;
  if (!optim->be->ops->unified_memory && (optim->options.rotate_moments || optim->be->ops->basis_change)) {
    QG_TRY(take(optim, "a change of basis", QG_F32, elements, &memory));
    scratch->rotation = memory;
  }
  return QG_OK;
}

/* Subspaces that wait for each other are solved in waves on the host, and one after the other on a device;
 * what that leaves to the host comes alone. */
static bool solves_waves(const qg_optim *optim)
{
  return !optim->be->ops->subspace;
}

/* Several subspaces at once keep all threads busy while single ones wait for their last BLAS calls. */
static int choose_slots(const qg_optim *optim, const qg_optim_extents *e)
{
  int most = 2 * (int)qg_max_i64(1, optim->options.subspace.threads);
  int wave = e->waiting < most ? e->waiting : most;
  return wave > 1 && solves_waves(optim) ? wave : e->projected > 0;
}

static qg_subspace_job shape_of(const qg_optim *optim, const qg_optim_param *p, qg_gradient_pair *pair)
{
  *pair = (qg_gradient_pair){.dy = {.rows = optim->tokens}, .x = {.rows = optim->tokens}};
  return (qg_subspace_job){.m = p->info.rows,
                           .n = p->info.cols,
                           .rank = p->policy.rank,
                           .pair = p->policy.route == QG_ROUTE_PAIR ? pair : NULL};
}

/* One at a time: the hungriest matrix. Several: no wave of them asks for more than all of them together. A
 * matrix that all ranks solve together is its owner's alone when they fail. */
static qg_status measure_solver(const qg_optim *optim, size_t *bytes)
{
  const qg_subspace_options *options = &optim->options.subspace;
  void *memory;
  QG_TRY(qg_calloc((size_t)optim->param_count, sizeof(qg_subspace_job), "shapes of subspaces", &memory));
  qg_subspace_job *shapes = memory;
  qg_gradient_pair pair;
  int count = 0;
  *bytes = 0;
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (!p->held || !p->policy.projected) continue;
    qg_subspace_job shape = shape_of(optim, p, &pair);
    *bytes = qg_max_size(*bytes, qg_subspace_workspace(options, &shape, 1));
    if (p->policy.route == QG_ROUTE_GATHERED && solves_waves(optim)) shapes[count++] = shape;
  }
  if (count > 0) *bytes = qg_max_size(*bytes, qg_subspace_workspace(options, shapes, count));
  free(shapes);
  return QG_OK;
}

static qg_status take_jobs(qg_optim *optim)
{
  qg_optim_refresher *r = &optim->refresher;
  void *memory;
  QG_TRY(measure_solver(optim, &r->workspace_bytes));
  qg_optim_measure_device_solver(optim);
  QG_TRY(qg_optim_take_device_bases(optim));
  if (!optim->be->ops->unified_memory)
    QG_TRY(qg_mem_alloc_host(optim->mem, QG_OWNER_WORKSPACE, "the subspace solver", r->workspace_bytes,
                             &r->workspace));
  QG_TRY(qg_calloc((size_t)r->slots, sizeof *r->jobs, "subspace jobs", &memory));
  r->jobs = memory;
  QG_TRY(qg_calloc((size_t)r->slots, sizeof(qg_optim_param *), "pending refreshes", &memory));
  r->pending = memory;
  return QG_OK;
}

static qg_status take_refresher(qg_optim *optim, const qg_optim_extents *e)
{
  qg_optim_refresher *r = &optim->refresher;
  void *memory;
  r->slots = choose_slots(optim, e);
  if (r->slots == 0) return QG_OK;
  r->basis_stride = e->basis;
  r->gradient_stride = e->full;
  r->rank_stride = e->rank;
  size_t basis_bytes = qg_dtype_bytes(QG_F32, r->slots * e->basis);
  QG_TRY(take_for_host(optim, "old subspaces", basis_bytes, &memory));
  r->previous = memory;
  QG_TRY(take_for_host(optim, "new subspaces", basis_bytes, &memory));
  r->basis = memory;
  QG_TRY(take_for_host(optim, "singular values", qg_dtype_bytes(QG_F32, r->slots * e->rank), &memory));
  r->singular_values = memory;
  if (!optim->be->ops->unified_memory) {
    size_t bytes = qg_dtype_bytes(QG_F32, r->slots * e->full);
    QG_TRY(qg_mem_alloc_host(optim->mem, QG_OWNER_GRADIENTS, "gradients on the host", bytes, &memory));
    r->gradients = memory;
  }
  QG_TRY(take_rotation(optim, e));
  return take_jobs(optim);
}

/* Every rank has a part in every distributed solution, whoever holds the matrix. */
static qg_status take_distributed(qg_optim *optim)
{
  qg_optim_refresher *r = &optim->refresher;
  int ranks = optim->options.all_ranks > 0 ? optim->options.all_ranks : 1;
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    size_t bytes;
    if (!p->policy.projected || p->policy.route != QG_ROUTE_DISTRIBUTED) continue;
    QG_TRY(qg_subspace_distributed_workspace(optim->options.this_rank, ranks, p->held, p->info.rows,
                                             p->info.cols, p->policy.rank, &bytes));
    r->distributed_bytes = qg_max_size(r->distributed_bytes, bytes);
  }
  return qg_mem_alloc_host(optim->mem, QG_OWNER_WORKSPACE, "a subspace solved by all ranks",
                           r->distributed_bytes, &r->distributed);
}

qg_status qg_optim_take_scratch(qg_optim *optim)
{
  qg_optim_extents e = measure(optim);
  QG_TRY(take_updates(optim, &e));
  QG_TRY(take_refresher(optim, &e));
  QG_TRY(take_distributed(optim));
  QG_TRY(qg_optim_take_arena(optim, &e));
  return qg_mem_is_dry(optim->mem) ? QG_OK : qg_optim_open_ahead(optim);
}
