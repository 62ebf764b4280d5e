/* Life of an optimizer and the frame of one step. */
#include "qgalore/optim.h"

#include <stdlib.h>
#include <string.h>

#include "optim/internal.h"
#include "qgalore/base/fault.h"

static qg_status check_options(const qg_optim_options *o)
{
  QG_CHECK(o->moment_bits == 8 || o->moment_bits == 32, QG_ERR_INPUT,
           "optimizer.moment_bits is %d; it is 8 or 32", o->moment_bits);
  QG_CHECK(o->moment_block >= 1, QG_ERR_INPUT, "optimizer.moment_block is %lld; it is at least 1",
           (long long)o->moment_block);
  QG_CHECK(o->dense_type == QG_F32 || o->dense_type == QG_BF16, QG_ERR_INPUT,
           "optimizer.dense_weights is %s; it is fp32 or bf16", qg_dtype_name(o->dense_type));
  if (o->method == QG_METHOD_ADAMW || o->method == QG_METHOD_ADAM8BIT) return QG_OK;
  QG_CHECK(o->rank >= 1, QG_ERR_INPUT, "qgalore.rank is %lld; it is at least 1", (long long)o->rank);
  QG_CHECK(o->update_gap >= 1, QG_ERR_INPUT, "qgalore.update_gap is %lld; it is at least 1",
           (long long)o->update_gap);
  QG_CHECK(o->weight_bits == 8 || o->weight_bits == 16 || o->weight_bits == 32, QG_ERR_INPUT,
           "qgalore.weight_bits is %d; it is 8, 16 or 32", o->weight_bits);
  QG_CHECK(o->projector_bits == 4 || o->projector_bits == 32, QG_ERR_INPUT,
           "qgalore.projector_bits is %d; it is 4 or 32", o->projector_bits);
  QG_CHECK(o->similarity_window >= 1 && o->similarity_window <= QG_TRACKER_WINDOW_MAX, QG_ERR_INPUT,
           "qgalore.similarity_window is %d; it is 1 to %d", o->similarity_window, QG_TRACKER_WINDOW_MAX);
  return QG_OK;
}

static qg_status check_batch(const qg_optim_options *o, int64_t micro_batches)
{
  QG_CHECK(!o->fused || micro_batches == 1, QG_ERR_INPUT,
           "train.update = fused needs one micro-batch a step, not %lld; use train.update = accumulated, or "
           "train.micro_batch = train.global_batch",
           (long long)micro_batches);
  return QG_OK;
}

/* Matrices are numbered through the model, so that the plan is the same on every partition. */
static void set_phases(qg_optim *optim)
{
  int index = 0;
  for (int id = 0; id < optim->param_count; id++)
    if (optim->params[id].policy.projected)
      optim->params[id].tracker.phase = qg_tracker_phase(index++, optim->options.update_gap);
}

static qg_status describe_params(qg_optim *optim)
{
  void *memory;
  optim->param_count = qg_param_count(&optim->shape);
  QG_TRY(qg_calloc((size_t)optim->param_count, sizeof(qg_optim_param), "parameter records", &memory));
  optim->params = memory;
  QG_TRY(qg_calloc(1, qg_optim_sums_bytes(optim), "sums of squares", &memory));
  optim->host_sums = memory;
  QG_TRY(qg_calloc((size_t)optim->param_count, sizeof(qg_refresh_record), "records of refreshes", &memory));
  optim->records = memory;
  for (int id = 0; id < optim->param_count; id++) {
    qg_optim_param *p = &optim->params[id];
    p->info = qg_param_describe(&optim->shape, id);
    p->policy = qg_optim_choose_policy(optim, &p->info);
    p->held = qg_partition_has_param(&optim->part, &p->info, optim->shape.tie_embeddings);
    p->owner = -1;
    qg_tracker_init(&p->tracker, optim->options.update_gap);
  }
  if (optim->options.stagger) set_phases(optim);
  return QG_OK;
}

qg_status qg_optim_create(qg_mem *mem, qg_backend *be, const qg_model_shape *shape, const qg_partition *part,
                          const qg_optim_options *options, int64_t tokens, int64_t micro_batches,
                          qg_optim **out)
{
  void *memory;
  qg_status status;
  QG_TRY(check_options(options));
  QG_TRY(check_batch(options, micro_batches));
  QG_TRY(qg_calloc(1, sizeof(qg_optim), "the optimizer", &memory));
  qg_optim *optim = memory;
  optim->mem = mem;
  optim->be = be;
  optim->shape = *shape;
  optim->part = *part;
  optim->options = *options;
  optim->options.subspace.bf16 = be->compute == QG_BF16;
  optim->tokens = tokens;
  optim->micro_batches = micro_batches;
  /* A refresh that sees the whole batch has to keep G of every matrix that is due, and at step 0 all are. */
  optim->keeps_full = options->sample == QG_SAMPLE_BATCH && micro_batches > 1;
  QG_TRY_OUT(describe_params(optim));
  QG_TRY_OUT(qg_optim_take_store(optim));
  QG_TRY_OUT(qg_optim_take_scratch(optim));
  optim->port = qg_optim_make_port(optim);
out:
  if (status != QG_OK) {
    qg_optim_destroy(optim);
    optim = NULL;
  }
  *out = optim;
  return status;
}

void qg_optim_destroy(qg_optim *optim)
{
  if (!optim) return;
  qg_backend_name(optim->be, NULL); /* names are the parameters' */
  qg_optim_close_ahead(optim);
  free(optim->refresher.jobs);
  free(optim->refresher.pending);
  free(optim->entries);
  free(optim->host_sums);
  free(optim->records);
  free(optim->params);
  free(optim);
}

qg_status qg_optim_find(qg_optim *optim, int id, qg_optim_param **out)
{
  QG_CHECK(id >= 0 && id < optim->param_count && optim->params[id].held, QG_ERR_RUNTIME,
           "parameter %d is not held by this stage", id);
  *out = &optim->params[id];
  qg_optim_name(optim, *out);
  return QG_OK;
}

void qg_optim_set_timers(qg_optim *optim, qg_timers *timers)
{
  optim->timers = timers;
}

const qg_param_port *qg_optim_port(qg_optim *optim)
{
  return &optim->port;
}

static qg_status zero(qg_optim *optim, void *memory, qg_dtype type, int64_t count)
{
  return optim->be->ops->zero(optim->be, memory, qg_dtype_bytes(type, count));
}

/* Where all ranks solve together they follow the plan that they shared. */
static bool is_due(const qg_optim *optim, const qg_optim_param *p)
{
  if (!p->policy.projected) return false;
  if (p->policy.route == QG_ROUTE_DISTRIBUTED) return optim->step >= p->next_refresh;
  return qg_tracker_due(&p->tracker, optim->step);
}

qg_status qg_optim_clear_grad(qg_optim *optim, qg_optim_param *p)
{
  p->fresh = false;
  return zero(optim, p->grad, p->policy.grad_type, qg_optim_grad_elements(p));
}

/* Rows and vectors are added to; what products make needs no clearing before the first of them. Memory that
 * is shared is cleared when its turn comes. */
static bool is_added_to(const qg_optim_param *p)
{
  return (p->info.role == QG_ROLE_EMBED && !p->policy.fused) || qg_optim_is_vector(p);
}

static qg_status begin_param(qg_optim *optim, qg_optim_param *p)
{
  p->refresh_pending = is_due(optim, p);
  if (!p->held) return QG_OK;
  qg_optim_name(optim, p);
  p->accumulates_full = qg_optim_gathers(p) && qg_optim_needs_full(optim, p);
  p->fresh = true;
  if (is_added_to(p)) QG_TRY(qg_optim_clear_grad(optim, p));
  if (p->head_grad) QG_TRY(zero(optim, p->head_grad, QG_F32, qg_optim_elements(p)));
  return p->accumulates_full ? zero(optim, p->full, QG_F32, qg_optim_elements(p)) : QG_OK;
}

qg_status qg_optim_begin(qg_optim *optim, int64_t step)
{
  optim->step = step;
  optim->tied_added = optim->touched = false;
  optim->discarded = qg_fault_is_planted_at("gradient", step);
  optim->step_refreshes = optim->step_failed = 0;
  qg_optim_projector_forget(optim); /* a checkpoint may have been loaded */
  QG_TRY(qg_optim_guard_begin(optim));
  for (int id = 0; id < optim->param_count; id++) QG_TRY(begin_param(optim, &optim->params[id]));
  return QG_OK;
}

bool qg_optim_touched(const qg_optim *optim)
{
  return optim->touched;
}

bool qg_optim_acts_in_backward(const qg_optim *optim)
{
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (p->held && (p->policy.fused || (p->refresh_pending && !qg_optim_gathers(p)))) return true;
  }
  return false;
}

/* A matrix refreshes on its own first gradient, so nothing here waits for the micro-batch; but memory was
 * taken for `micro_batches` of them, and a batch of more would refresh from a part of it. */
qg_status qg_optim_end_micro_batch(qg_optim *optim, int64_t index)
{
  QG_CHECK(index >= 0 && index < optim->micro_batches, QG_ERR_RUNTIME,
           "micro-batch %lld of an optimizer made for %lld a step", (long long)index,
           (long long)optim->micro_batches);
  return QG_OK;
}

/* Distributed ones are not solved here, but where they are not due they may have gathered for the reference's
 * route. */
static bool is_ready(const qg_optim_param *p)
{
  return p->accumulates_full && !p->refresh_pending;
}

/* Matrices that got no gradient at all. */
static qg_status clear_untouched(qg_optim *optim)
{
  for (int id = 0; id < optim->param_count; id++) {
    qg_optim_param *p = &optim->params[id];
    if (p->held && p->fresh && !p->policy.fused && !p->accumulates_full)
      QG_TRY(qg_optim_clear_grad(optim, p));
  }
  return QG_OK;
}

static bool waits_to_refresh(const qg_optim *optim)
{
  for (int id = 0; id < optim->param_count; id++)
    if (optim->params[id].accumulates_full && optim->params[id].refresh_pending) return true;
  return false;
}

/* A refresh outlives its step: where it has waited for the gradients, all of them are looked at before it. */
qg_status qg_optim_finish_gradients(qg_optim *optim)
{
  if (optim->discarded) return QG_OK;
  QG_TRY(clear_untouched(optim));
  if (waits_to_refresh(optim)) QG_TRY(qg_optim_look_at_gradients(optim));
  if (optim->discarded) return QG_OK;
  QG_TRY(qg_optim_refresh_pending(optim));
  for (int id = 0; id < optim->param_count; id++)
    if (is_ready(&optim->params[id])) QG_TRY(qg_optim_project(optim, &optim->params[id], 0.0f));
  return QG_OK;
}

static double mean_energy(const qg_optim *optim)
{
  double sum = 0.0;
  for (int i = 0; i < optim->step_refreshes; i++) sum += optim->records[i].energy;
  return optim->step_refreshes > 0 ? sum / optim->step_refreshes : 0.0;
}

qg_optim_stats qg_optim_get_stats(const qg_optim *optim)
{
  qg_optim_stats stats = {.refreshes = optim->step_refreshes,
                          .failed = optim->step_failed,
                          .failed_refreshes = optim->failed_refreshes,
                          .mean_energy = mean_energy(optim)};
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (!p->held) continue;
    stats.total_refreshes += p->tracker.refreshes;
    stats.total_saved += p->tracker.saved;
  }
  return stats;
}

const qg_refresh_record *qg_optim_refreshes(const qg_optim *optim, int *count)
{
  *count = optim->step_refreshes;
  return optim->records;
}

qg_subspace_validation qg_optim_validation(const qg_optim *optim)
{
  return optim->validation;
}

const qg_tracker *qg_optim_tracker(const qg_optim *optim, int param)
{
  if (param < 0 || param >= optim->param_count) return NULL;
  const qg_optim_param *p = &optim->params[param];
  return p->held && p->policy.projected ? &p->tracker : NULL;
}
