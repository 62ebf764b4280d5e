/* One piece of memory that the matrices use one after the other, and each step of a matrix after the step
 * before. Time runs down, memory to the right:
 *
 *                            weights               | update
 *   the model's passes       [ weight | the next ]            read from its read on to its add_matrix
 *   G of a refresh           [ G                 ]            formed, solved and projected in one add_matrix
 *     its subspace                                 [ solver            ]
 *     its moments                                  [ statistics, mixed ]
 *     projection, update                           [ delta, low_rank, R ]
 *   G of a dense matrix      [ G                                        ]   fused: until its update
 *
 * The passes read on when add_matrix is done, and what was unpacked for them meanwhile is unpacked again
 * (weights/prefetch.c). An implicit gradient is solved with delta and low_rank, so then the solver lies
 * behind them. The head accumulates its G while the loss reads the head: where that is read from scratch, its
 * G lies behind the weights. */
#include "optim/scratch_layout.h"

#include "optim/refresher.h"
#include "qgalore/base.h"

static void place_weights(qg_optim_context *o, const qg_scratch_sizes *sizes, qg_mem_cursor *from,
                          void **formed)
{
  size_t bytes = qg_weights_scratch_bytes(o->weights);
  qg_mem_cursor gradient = *from;
  void *weight = qg_mem_place(from, bytes), *next = NULL;
  if (qg_weights_prefetches(o->weights)) next = qg_mem_place(from, bytes);
  qg_weights_set_scratch(o->weights, weight, next);
  *formed = qg_mem_place(&gradient, qg_dtype_bytes(QG_F32, sizes->formed));
  from->used = qg_max_size(from->used, gradient.used);
}

static size_t place_statistics(qg_optim_context *o, const qg_scratch_sizes *sizes, qg_mem_cursor from)
{
  qg_optim_scratch *scratch = &o->scratch;
  if (!o->options.rotate_moments) return from.used;
  scratch->statistics = qg_mem_place(&from, qg_dtype_bytes(QG_F32, 2 * sizes->delta));
  scratch->mixed = qg_mem_place(&from, qg_dtype_bytes(QG_F32, 2 * sizes->mixed));
  scratch->mixed_elements = sizes->mixed;
  return from.used;
}

/* Whoever solves: the device, or the host where it shares the device's memory. */
static size_t place_solver(qg_optim_context *o, qg_mem_cursor from)
{
  qg_refresher *r = o->refresher;
  bool unified = o->be->ops->unified_memory;
  size_t bytes = qg_max_size(r->device_workspace_bytes, unified ? r->workspace_bytes : 0);
  r->device_workspace = qg_mem_place(&from, bytes);
  if (unified) r->workspace = r->device_workspace;
  return from.used;
}

static void place_update(qg_optim_context *o, const qg_scratch_sizes *sizes, qg_mem_cursor *from,
                         void **low_rank_grad)
{
  qg_optim_scratch *scratch = &o->scratch;
  qg_dtype compute = o->be->compute;
  qg_mem_cursor start = *from;
  int64_t block = qg_max_i64(sizes->delta, sizes->implicit_block);
  int64_t low_rank = qg_max_i64(sizes->rank, sizes->implicit_count);
  scratch->delta = qg_mem_place(from, qg_dtype_bytes(compute, block));
  scratch->low_rank = qg_mem_place(from, qg_dtype_bytes(compute, o->tokens * low_rank));
  size_t solver = place_solver(o, sizes->implicit_count > 0 ? *from : start);
  size_t statistics = place_statistics(o, sizes, start);
  *low_rank_grad = qg_mem_place(from, qg_dtype_bytes(QG_F32, sizes->fused));
  from->used = qg_max_size(from->used, qg_max_size(solver, statistics));
}

/* Returns the bytes; places everything when base is given. */
static size_t place(qg_optim_context *o, const qg_scratch_sizes *sizes, char *base,
                    qg_shared_gradients *shared)
{
  qg_mem_cursor weights = {.base = base}, dense = weights;
  place_weights(o, sizes, &weights, &shared->formed);
  qg_mem_cursor update = weights;
  place_update(o, sizes, &update, &shared->low_rank);
  if (sizes->head_in_scratch) dense = weights;
  shared->dense = qg_mem_place(&dense, sizes->dense_bytes);
  return qg_max_size(update.used, dense.used);
}

qg_status qg_scratch_take(qg_optim_context *o, const qg_scratch_sizes *sizes, qg_shared_gradients *shared)
{
  qg_optim_scratch *scratch = &o->scratch;
  void *base;
  QG_TRY(qg_mem_alloc(o->mem, QG_OWNER_WORKSPACE, "a projector", qg_dtype_bytes(QG_F32, sizes->basis),
                      &scratch->projector));
  QG_TRY(qg_weight_staging_take(o->mem, o->be, sizes->update, &scratch->update));
  size_t bytes = place(o, sizes, NULL, shared);
  QG_TRY(
      qg_mem_alloc(o->mem, QG_OWNER_WORKSPACE, "weights, gradient and update of one matrix", bytes, &base));
  place(o, sizes, base, shared);
  o->refresher->implicit =
      (qg_implicit_gradient){.be = o->be, .block = scratch->delta, .tokens = scratch->low_rank};
  return QG_OK;
}
