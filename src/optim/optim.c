/* Life of an optimizer and the frame of one step. */
#include "qgalore/optim.h"

#include <stdlib.h>
#include <string.h>

#include "optim/internal.h"

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

static qg_status describe_params(qg_optim *optim)
{
  void *memory;
  optim->param_count = qg_param_count(&optim->shape);
  QG_TRY(qg_calloc((size_t)optim->param_count, sizeof(qg_optim_param), "parameter records", &memory));
  optim->params = memory;
  QG_TRY(qg_calloc((size_t)optim->param_count, sizeof(double), "sums of squares", &memory));
  optim->host_sums = memory;
  for (int id = 0; id < optim->param_count; id++) {
    qg_optim_param *p = &optim->params[id];
    p->info = qg_param_describe(&optim->shape, id);
    p->policy = qg_optim_choose_policy(&optim->options, &p->info);
    p->held = qg_partition_has_param(&optim->part, &p->info, optim->shape.tie_embeddings);
    qg_tracker_init(&p->tracker, optim->options.update_gap);
  }
  return QG_OK;
}

qg_status qg_optim_create(qg_mem *mem, qg_backend *be, const qg_model_shape *shape, const qg_partition *part,
                          const qg_optim_options *options, int64_t tokens, int64_t micro_batches,
                          qg_optim **out)
{
  void *memory;
  qg_status status;
  QG_TRY(check_options(options));
  QG_TRY(qg_calloc(1, sizeof(qg_optim), "the optimizer", &memory));
  qg_optim *optim = memory;
  optim->mem = mem;
  optim->be = be;
  optim->shape = *shape;
  optim->part = *part;
  optim->options = *options;
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
  free(optim->refresher.jobs);
  free(optim->refresher.pending);
  free(optim->entries);
  free(optim->host_sums);
  free(optim->params);
  free(optim);
}

qg_status qg_optim_find(qg_optim *optim, int id, qg_optim_param **out)
{
  QG_CHECK(id >= 0 && id < optim->param_count && optim->params[id].held, QG_ERR_RUNTIME,
           "parameter %d is not held by this stage", id);
  *out = &optim->params[id];
  return QG_OK;
}

const qg_param_port *qg_optim_port(qg_optim *optim)
{
  return &optim->port;
}

static qg_status zero_floats(qg_optim *optim, float *memory, int64_t count)
{
  return optim->be->ops->zero(optim->be, memory, qg_dtype_bytes(QG_F32, count));
}

static qg_status begin_param(qg_optim *optim, qg_optim_param *p)
{
  QG_TRY(zero_floats(optim, p->grad, qg_optim_grad_elements(p)));
  if (p->head_grad) QG_TRY(zero_floats(optim, p->head_grad, qg_optim_elements(p)));
  p->refresh_pending = p->policy.projected && qg_tracker_due(&p->tracker, optim->step);
  p->accumulates_full = optim->keeps_full && qg_optim_needs_full(optim, p);
  return p->accumulates_full ? zero_floats(optim, p->full, qg_optim_elements(p)) : QG_OK;
}

qg_status qg_optim_begin(qg_optim *optim, int64_t step)
{
  optim->step = step;
  optim->tied_added = false;
  optim->step_refreshes = 0;
  optim->step_energy = 0.0;
  for (int id = 0; id < optim->param_count; id++)
    if (optim->params[id].held) QG_TRY(begin_param(optim, &optim->params[id]));
  return QG_OK;
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

qg_status qg_optim_finish_gradients(qg_optim *optim)
{
  if (optim->keeps_full) QG_TRY(qg_optim_refresh_pending(optim));
  for (int id = 0; id < optim->param_count; id++)
    if (optim->params[id].accumulates_full) QG_TRY(qg_optim_project(optim, &optim->params[id], 0.0f));
  return QG_OK;
}

qg_optim_stats qg_optim_get_stats(const qg_optim *optim)
{
  qg_optim_stats stats = {.refreshes = optim->step_refreshes, .failed_refreshes = optim->failed_refreshes};
  if (optim->step_refreshes > 0) stats.mean_energy = optim->step_energy / (double)optim->step_refreshes;
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (!p->held) continue;
    stats.total_refreshes += p->tracker.refreshes;
    stats.total_saved += p->tracker.saved;
  }
  return stats;
}

const qg_tracker *qg_optim_tracker(const qg_optim *optim, int param)
{
  if (param < 0 || param >= optim->param_count) return NULL;
  const qg_optim_param *p = &optim->params[param];
  return p->held && p->policy.projected ? &p->tracker : NULL;
}
