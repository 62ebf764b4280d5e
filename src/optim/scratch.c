/* Scratch of the optimizer: as much as the largest parameter held here asks for. */
#include <stdlib.h>

#include "optim/internal.h"
#include "qgalore/base.h"

/* Largest over the parameters held here, in elements. */
typedef struct {
  int64_t weight; /* that needs a copy in the compute type */
  int64_t basis, delta, rank, full;
  int64_t update; /* rows or elements updated at once */
  int projected;  /* how many */
} extents;

static void widen(int64_t *largest, int64_t value)
{
  *largest = qg_max_i64(*largest, value);
}

static extents measure(const qg_optim *optim)
{
  extents e = {0};
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (!p->held) continue;
    if (qg_optim_wants_weight_scratch(optim, p)) widen(&e.weight, qg_optim_elements(p));
    widen(&e.update, qg_min_i64(qg_optim_elements(p), qg_optim_chunk_elements(&optim->options)));
    if (!p->policy.projected) continue;
    widen(&e.update, qg_optim_chunk_rows(p->info.rows, p->info.cols) * p->info.cols);
    widen(&e.basis, qg_optim_basis_elements(p));
    widen(&e.delta, qg_optim_grad_elements(p));
    widen(&e.rank, p->policy.rank);
    widen(&e.full, qg_optim_elements(p));
    e.projected++;
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

static qg_status take_updates(qg_optim *optim, const extents *e)
{
  qg_optim_scratch *scratch = &optim->scratch;
  qg_dtype compute = optim->be->compute;
  void *memory;
  QG_TRY(take(optim, "weights in the compute type", compute, e->weight, &scratch->weight));
  QG_TRY(take(optim, "a projector", QG_F32, e->basis, &scratch->projector));
  QG_TRY(take(optim, "low-rank activations", compute, optim->tokens * e->rank, &scratch->low_rank));
  QG_TRY(take(optim, "a low-rank update", compute, e->delta, &scratch->delta));
  QG_TRY(take(optim, "rows of an update", QG_F32, e->update, &memory));
  scratch->update = scratch->update_host = memory;
  scratch->update_elements = e->update;
  if (!optim->be->ops->unified_memory) {
    QG_TRY(take_for_host(optim, "fresh weights", qg_dtype_bytes(QG_F32, e->update), &memory));
    scratch->update_host = memory;
  }
  QG_TRY(take(optim, "sums of squares", QG_F64, optim->param_count, &memory));
  scratch->sums = memory;
  return QG_OK;
}

/* Several subspaces at once keep all threads busy while single ones wait for their last BLAS calls. */
static int choose_slots(const qg_optim *optim, int projected)
{
  int threads = optim->options.subspace.threads > 1 ? optim->options.subspace.threads : 1;
  if (!optim->keeps_full) return projected > 0 ? 1 : 0;
  return projected < 2 * threads ? projected : 2 * threads;
}

/* One at a time: the hungriest matrix. Several: no wave of them asks for more than all of them together. */
static qg_status measure_solver(const qg_optim *optim, int projected, size_t *bytes)
{
  void *memory;
  QG_TRY(qg_calloc((size_t)projected, sizeof(qg_subspace_job), "shapes of subspaces", &memory));
  qg_subspace_job *shapes = memory;
  int count = 0;
  *bytes = 0;
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (!p->held || !p->policy.projected) continue;
    qg_subspace_job shape = {.m = p->info.rows, .n = p->info.cols, .rank = p->policy.rank};
    shapes[count++] = shape;
    size_t alone = qg_subspace_workspace(&optim->options.subspace, &shape, 1);
    if (alone > *bytes) *bytes = alone;
  }
  if (optim->keeps_full) {
    size_t together = qg_subspace_workspace(&optim->options.subspace, shapes, count);
    if (together > *bytes) *bytes = together;
  }
  free(shapes);
  return QG_OK;
}

static qg_status take_refresher(qg_optim *optim, const extents *e)
{
  qg_optim_refresher *r = &optim->refresher;
  void *memory;
  r->slots = choose_slots(optim, e->projected);
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
  QG_TRY(measure_solver(optim, e->projected, &r->workspace_bytes));
  QG_TRY(qg_mem_alloc_host(optim->mem, QG_OWNER_WORKSPACE, "the subspace solver", r->workspace_bytes,
                           &r->workspace));
  QG_TRY(qg_calloc((size_t)r->slots, sizeof *r->jobs, "subspace jobs", &memory));
  r->jobs = memory;
  QG_TRY(qg_calloc((size_t)r->slots, sizeof(qg_optim_param *), "pending refreshes", &memory));
  r->pending = memory;
  return QG_OK;
}

/* One G for all: each matrix' refresh is over before the next one's gradient is formed. */
static qg_status take_shared_full(qg_optim *optim, const extents *e)
{
  void *memory;
  if (optim->keeps_full || e->projected == 0) return QG_OK;
  size_t bytes = qg_dtype_bytes(QG_F32, e->full);
  QG_TRY(qg_mem_alloc(optim->mem, QG_OWNER_GRADIENTS, "the gradient of a refresh", bytes, &memory));
  for (int id = 0; id < optim->param_count; id++)
    if (optim->params[id].held && optim->params[id].policy.projected) optim->params[id].full = memory;
  return QG_OK;
}

qg_status qg_optim_take_scratch(qg_optim *optim)
{
  extents e = measure(optim);
  QG_TRY(take_updates(optim, &e));
  QG_TRY(take_refresher(optim, &e));
  return take_shared_full(optim, &e);
}
