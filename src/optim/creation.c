/* Life of an optimizer: its sinks and their memory, and what a checkpoint sees of it. */
#include <stdlib.h>

#include "optim/choice.h"
#include "optim/chunks.h"
#include "optim/optim_private.h"
#include "optim/port.h"
#include "optim/refresher.h"
#include "optim/scratch_layout.h"
#include "qgalore/base.h"

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

/* `number`: of this parameter among the projected ones of the model. Counted through the model, so that the
 * plan of refreshes is the same on every partition and whatever is frozen. */
static qg_status create_sink(qg_optim *optim, int param, int number)
{
  const qg_optim_options *options = &optim->o.options;
  QG_TRY(qg_choose_sink(&optim->o, &optim->params.params[param], param, &optim->sinks[param]));
  qg_projected *p = qg_optim_projected(optim, param);
  if (p && options->stagger) p->tracker.phase = qg_tracker_phase(number, options->update_gap);
  return QG_OK;
}

static int is_numbered(const qg_optim *optim, int param)
{
  return qg_optim_projects(&optim->o.options, &optim->params.params[param]);
}

static qg_status take_sink(qg_optim *optim, int param)
{
  qg_grad_sink *sink = optim->sinks[param];
  return qg_optim_is_held(optim, param) ? sink->ops->take(sink, optim->o.mem) : QG_OK;
}

/* Frozen ones that may be thawed exist until scratch was measured. */
static qg_status create_sinks(qg_optim *optim, const bool *frozen)
{
  size_t count = (size_t)optim->params.count;
  int number = 0;
  QG_TRY(qg_calloc(count, sizeof *optim->sinks, "gradient sinks", (void **)&optim->sinks));
  for (int i = 0; i < optim->params.count; number += is_numbered(optim, i++)) {
    bool is_frozen = frozen && frozen[i];
    if (!is_frozen || optim->thaws) QG_TRY(create_sink(optim, i, number));
    if (!is_frozen) QG_TRY(take_sink(optim, i));
  }
  return QG_OK;
}

static void drop_frozen(qg_optim *optim, const bool *frozen)
{
  for (int i = 0; frozen && i < optim->params.count; i++) {
    if (!frozen[i]) continue;
    free(optim->sinks[i]);
    optim->sinks[i] = NULL;
  }
}

static qg_scratch_sizes measure(const qg_optim *optim)
{
  qg_scratch_sizes sizes = {0};
  for (int i = 0; i < optim->params.count; i++) {
    const qg_param *param = &optim->params.params[i];
    if (param->held)
      qg_widen(&sizes.update, qg_min_i64(qg_param_elements(param), qg_chunk_elements(&optim->o)));
    if (qg_optim_is_held(optim, i) && optim->sinks[i]->ops->measure)
      optim->sinks[i]->ops->measure(optim->sinks[i], &sizes);
  }
  return sizes;
}

static qg_status open_refresher(qg_optim *optim, const qg_scratch_sizes *sizes)
{
  qg_projected **projected = NULL;
  int count = 0;
  QG_TRY(qg_calloc((size_t)optim->params.count, sizeof *projected, "projected sinks", (void **)&projected));
  for (int i = 0; i < optim->params.count; i++)
    if (qg_optim_projected(optim, i)) projected[count++] = qg_optim_projected(optim, i);
  qg_status status = qg_refresher_open(&optim->o, projected, count, optim->params.count, sizes);
  free(projected);
  return status;
}

static void share(qg_optim *optim, int param)
{
  qg_grad_sink *sink = optim->sinks[param];
  if (qg_optim_is_held(optim, param) && sink->ops->share) sink->ops->share(sink, &optim->shared);
}

static qg_status take_scratch(qg_optim *optim)
{
  qg_optim_context *o = &optim->o;
  qg_scratch_sizes sizes = measure(optim);
  QG_TRY(qg_step_guard_open(&o->guard, o->mem, optim->params.count));
  QG_TRY(open_refresher(optim, &sizes));
  QG_TRY(qg_scratch_take(o, &sizes, &optim->shared));
  for (int i = 0; i < optim->params.count; i++) share(optim, i);
  return QG_OK;
}

qg_status qg_optim_create(const qg_optim_request *request, qg_optim **out)
{
  qg_optim *optim = NULL;
  qg_status status;
  *out = NULL;
  QG_TRY(check_options(&request->options));
  QG_TRY(check_batch(&request->options, request->micro_batches));
  QG_TRY(qg_calloc(1, sizeof *optim, "the optimizer", (void **)&optim));
  optim->params = request->params;
  optim->o = (qg_optim_context){.mem = request->mem,
                                .be = request->be,
                                .weights = request->weights,
                                .options = request->options,
                                .tokens = request->tokens,
                                .micro_batches = request->micro_batches};
  optim->o.options.subspace.bf16 = request->be->compute == QG_BF16;
  optim->o.solver = request->solver ? *request->solver : qg_subspace_host_solver(&optim->o.options.subspace);
  optim->thaws = request->thaws;
  QG_TRY_OUT(create_sinks(optim, request->frozen));
  QG_TRY_OUT(take_scratch(optim));
  drop_frozen(optim, request->frozen);
  optim->port = qg_optim_make_port(optim);
  *out = optim;
out:
  if (status != QG_OK) qg_optim_destroy(optim);
  return status;
}

void qg_optim_destroy(qg_optim *optim)
{
  if (!optim) return;
  qg_backend_name(optim->o.be, NULL); /* names are the parameters' */
  for (int i = 0; optim->sinks && i < optim->params.count; i++) free(optim->sinks[i]);
  free(optim->sinks);
  qg_refresher_close(optim->o.refresher);
  qg_step_guard_close(&optim->o.guard);
  free(optim->state.entries);
  free(optim);
}

static void forget_state(qg_optim *optim)
{
  free(optim->state.entries);
  optim->state = (qg_state_list){0};
}

static qg_status check_param(const qg_optim *optim, int param)
{
  QG_CHECK(param >= 0 && param < optim->params.count, QG_ERR_RUNTIME, "there is no parameter %d", param);
  return QG_OK;
}

/* Also of a sink that has got a part of its memory alone. */
static void drop_sink(qg_optim *optim, int param)
{
  qg_grad_sink *sink = optim->sinks[param];
  if (qg_optim_is_held(optim, param)) sink->ops->release(sink, optim->o.mem);
  free(sink);
  optim->sinks[param] = NULL;
}

/* What scratch holds of the sink is nobody's from here on. */
qg_status qg_optim_freeze(qg_optim *optim, int param)
{
  QG_TRY(check_param(optim, param));
  qg_grad_sink *sink = optim->sinks[param];
  if (!sink) return QG_OK;
  QG_TRY(optim->o.be->ops->sync(optim->o.be));
  qg_projector_forget(&optim->o);
  drop_sink(optim, param);
  forget_state(optim);
  return QG_OK;
}

qg_status qg_optim_thaw(qg_optim *optim, int param)
{
  QG_TRY(check_param(optim, param));
  QG_CHECK(optim->thaws, QG_ERR_RUNTIME, "%s is frozen for good: no scratch was taken for it",
           optim->params.params[param].name);
  if (optim->sinks[param]) return QG_OK;
  int number = 0;
  for (int i = 0; i < param; i++) number += is_numbered(optim, i);
  QG_TRY(create_sink(optim, param, number));
  qg_status status = take_sink(optim, param);
  if (status != QG_OK) {
    drop_sink(optim, param);
    return status;
  }
  share(optim, param);
  forget_state(optim);
  return QG_OK;
}

const qg_weight_staging *qg_optim_staging(const qg_optim *optim)
{
  return &optim->o.scratch.update;
}

void qg_optim_set_timers(qg_optim *optim, qg_timers *timers)
{
  optim->o.timers = timers;
}

qg_status qg_optim_reset(qg_optim *optim)
{
  for (int i = 0; i < optim->params.count; i++)
    if (qg_optim_is_held(optim, i)) QG_TRY(optim->sinks[i]->ops->reset(optim->sinks[i]));
  return QG_OK;
}

static qg_status list_state(qg_optim *optim)
{
  for (int i = 0; i < optim->params.count; i++) {
    QG_TRY(qg_weights_list_state(optim->o.weights, i, &optim->state));
    if (optim->sinks[i]) QG_TRY(optim->sinks[i]->ops->list_state(optim->sinks[i], &optim->state));
  }
  return QG_OK;
}

qg_status qg_optim_state(qg_optim *optim, const qg_state_entry **entries, int *count)
{
  qg_status status = optim->state.count == 0 ? list_state(optim) : QG_OK;
  if (status != QG_OK) {
    forget_state(optim);
    return status;
  }
  *entries = optim->state.entries;
  *count = optim->state.count;
  return QG_OK;
}

qg_status qg_optim_state_loaded(qg_optim *optim)
{
  for (int i = 0; i < optim->params.count; i++)
    if (qg_optim_is_held(optim, i) && optim->sinks[i]->ops->state_loaded)
      QG_TRY(optim->sinks[i]->ops->state_loaded(optim->sinks[i]));
  return qg_weights_changed(optim->o.weights);
}
