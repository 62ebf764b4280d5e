/* One piece of memory that the matrices use one after the other, and each step of a matrix after the step
 * before. Time runs down, memory to the right:
 *
 *                            weights               | update
 *   the model's passes       [ weight | the next ]            read from its read on to its matrix_grad
 *   G of a refresh           [ G                 ]            formed, solved and projected in one matrix_grad
 *     its subspace                                 [ solver            ]
 *     its moments                                  [ statistics, mixed ]
 *     projection, update                           [ delta, low_rank, R ]
 *   G of a dense matrix      [ G                                        ]   fused: until its update
 *
 * The passes read on when matrix_grad is done, and what was unpacked for them meanwhile is unpacked again
 * (ahead.c). A pair is solved with delta and low_rank, so then the solver lies behind them. The head gathers
 * its G while the loss reads the head: where that is read from scratch, its G lies behind the weights. */
#include "optim/internal.h"
#include "qgalore/base.h"

static void place_weights(qg_optim *optim, const qg_optim_extents *e, qg_carver *from, void **formed)
{
  size_t bytes = qg_dtype_bytes(optim->be->compute, e->weight);
  qg_carver gradient = *from;
  optim->scratch.weight = qg_carve(from, bytes);
  if (optim->be->ops->async && e->int8 > 0) optim->ahead.weight = qg_carve(from, bytes);
  *formed = qg_carve(&gradient, qg_dtype_bytes(QG_F32, e->formed));
  from->used = qg_max_size(from->used, gradient.used);
}

static size_t place_statistics(qg_optim *optim, const qg_optim_extents *e, qg_carver from)
{
  qg_optim_scratch *scratch = &optim->scratch;
  if (!optim->options.rotate_moments) return from.used;
  scratch->statistics = qg_carve(&from, qg_dtype_bytes(QG_F32, 2 * e->delta));
  scratch->mixed = qg_carve(&from, qg_dtype_bytes(QG_F32, 2 * e->mixed));
  scratch->mixed_elements = e->mixed;
  return from.used;
}

/* Whoever solves: the device, or the host where it shares the device's memory. */
static size_t place_solver(qg_optim *optim, qg_carver from)
{
  qg_optim_refresher *r = &optim->refresher;
  bool unified = optim->be->ops->unified_memory;
  size_t bytes = qg_max_size(r->device_workspace_bytes, unified ? r->workspace_bytes : 0);
  r->device_workspace = qg_carve(&from, bytes);
  if (unified) r->workspace = r->device_workspace;
  return from.used;
}

static void place_update(qg_optim *optim, const qg_optim_extents *e, qg_carver *from, void **low_rank_grad)
{
  qg_optim_scratch *scratch = &optim->scratch;
  qg_dtype compute = optim->be->compute;
  qg_carver start = *from;
  int64_t block = qg_max_i64(e->delta, e->pair_block), low_rank = qg_max_i64(e->rank, e->pair_count);
  scratch->delta = qg_carve(from, qg_dtype_bytes(compute, block));
  scratch->low_rank = qg_carve(from, qg_dtype_bytes(compute, optim->tokens * low_rank));
  size_t solver = place_solver(optim, e->pair_count > 0 ? *from : start);
  size_t statistics = place_statistics(optim, e, start);
  *low_rank_grad = qg_carve(from, qg_dtype_bytes(QG_F32, e->fused));
  from->used = qg_max_size(from->used, qg_max_size(solver, statistics));
}

/* The gradients that matrices share. */
typedef struct {
  void *formed, *low_rank, *dense;
} shared_gradients;

/* Returns the bytes; places everything when base is given. */
static size_t place(qg_optim *optim, const qg_optim_extents *e, char *base, shared_gradients *shared)
{
  qg_carver weights = {.base = base}, dense = weights;
  place_weights(optim, e, &weights, &shared->formed);
  qg_carver update = weights;
  place_update(optim, e, &update, &shared->low_rank);
  if (e->head_in_scratch) dense = weights;
  shared->dense = qg_carve(&dense, e->dense_bytes);
  return qg_max_size(update.used, dense.used);
}

static void hand_out(qg_optim_param *p, const shared_gradients *shared)
{
  if (p->policy.projected && !qg_optim_gathers(p)) p->full = shared->formed;
  if (p->policy.fused) p->grad = p->policy.projected ? shared->low_rank : shared->dense;
}

qg_status qg_optim_take_arena(qg_optim *optim, const qg_optim_extents *e)
{
  qg_optim_scratch *scratch = &optim->scratch;
  shared_gradients shared;
  void *base;
  size_t bytes = place(optim, e, NULL, &shared);
  QG_TRY(qg_mem_alloc(optim->mem, QG_OWNER_WORKSPACE, "weights, gradient and update of one matrix", bytes,
                      &base));
  place(optim, e, base, &shared);
  optim->pair = (qg_gradient_pair){.be = optim->be, .block = scratch->delta, .tokens = scratch->low_rank};
  for (int id = 0; id < optim->param_count; id++)
    if (optim->params[id].held) hand_out(&optim->params[id], &shared);
  return QG_OK;
}
