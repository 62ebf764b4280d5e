/* The optimizer: every parameter's gradient sink, and the frame of one step around them. */
#include "qgalore/optim.h"

#include <math.h>
#include <stdlib.h>

#include "optim/choice.h"
#include "optim/chunks.h"
#include "optim/distributed.h"
#include "optim/refresh.h"
#include "optim/tied.h"
#include "qgalore/base.h"
#include "qgalore/base/fault.h"

struct qg_optim {
  qg_optim_context o;
  qg_param_list params; /* the caller's */
  qg_grad_sink **sinks; /* [params.count]; NULL: not trained */
  qg_gradient_port port;
  qg_step_rates rates; /* of fused updates */
  qg_state_list state;
};

/* --- Life --- */

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

static bool is_held(const qg_optim *optim, int param)
{
  return optim->sinks[param] && optim->params.params[param].held;
}

static qg_projected *projected_of(const qg_optim *optim, int param)
{
  qg_grad_sink *sink = optim->sinks[param];
  return sink && sink->ops->projected ? sink->ops->projected(sink) : NULL;
}

/* Matrices are numbered through the model, so that the plan of refreshes is the same on every partition. */
static void stagger(qg_optim *optim)
{
  int index = 0;
  for (int i = 0; i < optim->params.count; i++) {
    qg_projected *p = projected_of(optim, i);
    if (p) p->tracker.phase = qg_tracker_phase(index++, optim->o.options.update_gap);
  }
}

static qg_status create_sinks(qg_optim *optim, const bool *frozen)
{
  QG_TRY(
      qg_calloc((size_t)optim->params.count, sizeof *optim->sinks, "gradient sinks", (void **)&optim->sinks));
  for (int i = 0; i < optim->params.count; i++) {
    if (frozen && frozen[i]) continue;
    QG_TRY(qg_choose_sink(&optim->o, &optim->params.params[i], i, &optim->sinks[i]));
    if (is_held(optim, i)) QG_TRY(optim->sinks[i]->ops->take(optim->sinks[i], optim->o.mem));
  }
  if (optim->o.options.stagger) stagger(optim);
  return QG_OK;
}

static qg_scratch_sizes measure(const qg_optim *optim)
{
  qg_scratch_sizes sizes = {0};
  for (int i = 0; i < optim->params.count; i++) {
    const qg_param *param = &optim->params.params[i];
    if (param->held)
      qg_widen(&sizes.update, qg_min_i64(qg_param_elements(param), qg_chunk_elements(&optim->o)));
    if (is_held(optim, i) && optim->sinks[i]->ops->measure)
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
    if (projected_of(optim, i)) projected[count++] = projected_of(optim, i);
  qg_status status = qg_refresher_open(&optim->o, projected, count, optim->params.count, sizes);
  free(projected);
  return status;
}

static qg_status take_scratch(qg_optim *optim)
{
  qg_optim_context *o = &optim->o;
  qg_scratch_sizes sizes = measure(optim);
  qg_shared_gradients shared;
  QG_TRY(qg_step_guard_open(&o->guard, o->mem, optim->params.count));
  QG_TRY(open_refresher(optim, &sizes));
  QG_TRY(qg_scratch_take(o, &sizes, &shared));
  for (int i = 0; i < optim->params.count; i++)
    if (is_held(optim, i) && optim->sinks[i]->ops->share)
      optim->sinks[i]->ops->share(optim->sinks[i], &shared);
  return QG_OK;
}

static qg_gradient_port make_port(qg_optim *optim);

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
  QG_TRY_OUT(create_sinks(optim, request->frozen));
  QG_TRY_OUT(take_scratch(optim));
  optim->port = make_port(optim);
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
    if (is_held(optim, i)) QG_TRY(optim->sinks[i]->ops->reset(optim->sinks[i]));
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
  if (optim->state.count == 0) QG_TRY(list_state(optim));
  *entries = optim->state.entries;
  *count = optim->state.count;
  return QG_OK;
}

qg_status qg_optim_state_loaded(qg_optim *optim)
{
  for (int i = 0; i < optim->params.count; i++)
    if (is_held(optim, i) && optim->sinks[i]->ops->state_loaded)
      QG_TRY(optim->sinks[i]->ops->state_loaded(optim->sinks[i]));
  return qg_weights_changed(optim->o.weights);
}

/* --- One step: gradients come in --- */

qg_status qg_optim_begin(qg_optim *optim, int64_t step)
{
  qg_optim_context *o = &optim->o;
  o->step = step;
  qg_refresher_begin(o->refresher);
  qg_projector_forget(o); /* a checkpoint may have been loaded */
  QG_TRY(qg_step_guard_begin(&o->guard, o->be, qg_fault_is_injected_at("gradient", step)));
  for (int i = 0; i < optim->params.count; i++) {
    if (!optim->sinks[i]) continue;
    if (optim->params.params[i].held) qg_sink_name(optim->sinks[i]);
    QG_TRY(optim->sinks[i]->ops->begin(optim->sinks[i]));
  }
  return QG_OK;
}

static qg_step_rates make_rates(const qg_optim *optim, double lr, double grad_scale)
{
  return (qg_step_rates){(float)lr, (float)grad_scale, lr * optim->o.options.weight_decay};
}

void qg_optim_set_rates(qg_optim *optim, double lr, double grad_scale)
{
  optim->rates = make_rates(optim, lr, grad_scale);
}

bool qg_optim_acts_in_backward(const qg_optim *optim)
{
  for (int i = 0; i < optim->params.count; i++) {
    const qg_grad_sink *sink = optim->sinks[i];
    if (!is_held(optim, i)) continue;
    if (sink->fused || (sink->ops->refreshes_in_backward && sink->ops->refreshes_in_backward(sink)))
      return true;
  }
  return false;
}

qg_status qg_optim_check_incoming(qg_optim *optim, qg_view gradient)
{
  if (!qg_optim_acts_in_backward(optim)) return QG_OK;
  return qg_step_guard_note(&optim->o.guard, optim->o.be, gradient, optim->params.count);
}

bool qg_optim_state_modified(const qg_optim *optim)
{
  return optim->o.guard.state_modified;
}

static qg_status apply_sink(qg_grad_sink *sink, const qg_step_rates *rates)
{
  qg_step_guard *guard = &sink->o->guard;
  qg_sink_name(sink);
  if (sink->ops->is_ready && !sink->ops->is_ready(sink)) return QG_OK;
  if (sink->fused) qg_step_guard_updated(guard);
  else
    guard->state_modified = true;
  QG_TRY(qg_weights_begin_update(sink->o->weights, sink->index));
  return sink->ops->apply(sink, rates);
}

/* A gradient that is not finite ends the updates of this step: neither it nor what backward still brings
 * reaches any state, and norms are NaN. */
static qg_status apply_in_backward(qg_grad_sink *sink, const qg_step_rates *rates)
{
  qg_optim_context *o = sink->o;
  qg_optim_start(o, QG_PHASE_UPDATE);
  QG_TRY(qg_step_guard_note(&o->guard, o->be, sink->ops->gradient(sink), sink->index));
  QG_TRY(apply_sink(sink, rates));
  qg_optim_stop(o, QG_PHASE_UPDATE);
  return QG_OK;
}

/* The sink of a parameter held here; NULL: its gradient is not wanted, or nothing of this step is. */
static qg_status find(const qg_optim *optim, int param, qg_grad_sink **sink)
{
  *sink = NULL;
  QG_CHECK(param >= 0 && param < optim->params.count && optim->params.params[param].held, QG_ERR_RUNTIME,
           "parameter %d is not held by this stage", param);
  *sink = optim->sinks[param];
  if (*sink) qg_sink_name(*sink);
  return QG_OK;
}

static qg_status check_product(const qg_grad_sink *sink, qg_view dy, qg_view x)
{
  const qg_param *param = sink->param;
  bool fits = sink->ops->add_matrix && dy.cols == param->rows && x.cols == param->cols && dy.rows == x.rows &&
              x.rows <= sink->o->tokens;
  QG_CHECK(fits, QG_ERR_RUNTIME, "a gradient [%lld, %lld] x [%lld, %lld] for %s, made for up to %lld tokens",
           (long long)dy.rows, (long long)dy.cols, (long long)x.rows, (long long)x.cols, param->name,
           (long long)sink->o->tokens);
  return QG_OK;
}

/* For tests: an overflow that begins at this matrix. All ones are a NaN in fp32 and in bf16. */
static qg_status plant_fault(const qg_grad_sink *sink, qg_view dy)
{
  const uint32_t ones = UINT32_MAX;
  if (!qg_fault_is_injected_at(sink->param->name, sink->o->step)) return QG_OK;
  return sink->o->be->ops->copy_in(sink->o->be, dy.data, &ones, qg_dtype_bytes(dy.type, 1));
}

static qg_status add_matrix(void *impl, int param, qg_view dy, qg_view x)
{
  const qg_optim *optim = impl;
  qg_grad_sink *sink;
  QG_TRY(find(optim, param, &sink));
  if (!sink) return QG_OK;
  QG_TRY(check_product(sink, dy, x));
  QG_TRY(plant_fault(sink, dy));
  return optim->o.guard.discarded ? QG_OK : sink->ops->add_matrix(sink, dy, x);
}

static qg_status add_rows(void *impl, int param, const int32_t *ids, qg_view dx)
{
  const qg_optim *optim = impl;
  qg_grad_sink *sink;
  QG_TRY(find(optim, param, &sink));
  if (!sink) return QG_OK;
  QG_CHECK(sink->param->looked_up && dx.cols == sink->param->cols, QG_ERR_RUNTIME, "a row gradient for %s",
           sink->param->name);
  return optim->o.guard.discarded ? QG_OK : sink->ops->add_rows(sink, ids, dx);
}

static qg_status vector(void *impl, int param, float **out)
{
  qg_grad_sink *sink;
  QG_TRY(find(impl, param, &sink));
  *out = NULL;
  if (!sink) return QG_OK;
  QG_CHECK(sink->ops->vector, QG_ERR_RUNTIME, "a vector gradient for the matrix %s", sink->param->name);
  *out = sink->ops->vector(sink);
  return QG_OK;
}

/* The one place that decides when a fused update happens. */
static qg_status complete(void *impl, int param)
{
  const qg_optim *optim = impl;
  qg_grad_sink *sink;
  QG_TRY(find(optim, param, &sink));
  bool apply = sink && sink->fused && !optim->o.guard.discarded;
  return apply ? apply_in_backward(sink, &optim->rates) : QG_OK;
}

static qg_gradient_port make_port(qg_optim *optim)
{
  return (qg_gradient_port){
      .impl = optim, .add_matrix = add_matrix, .add_rows = add_rows, .vector = vector, .complete = complete};
}

const qg_gradient_port *qg_optim_port(qg_optim *optim)
{
  return &optim->port;
}

/* Memory was taken for `micro_batches` of them, and a batch of more would refresh from a part of it. */
qg_status qg_optim_end_micro_batch(qg_optim *optim, int64_t index)
{
  QG_CHECK(index >= 0 && index < optim->o.micro_batches, QG_ERR_RUNTIME,
           "micro-batch %lld of an optimizer made for %lld a step", (long long)index,
           (long long)optim->o.micro_batches);
  return QG_OK;
}

/* --- One step: gradients become an update --- */

/* Discards the step if a gradient of this stage is not finite. Fused ones have been looked at, one by one. */
static qg_status check_finite(qg_optim *optim)
{
  qg_optim_context *o = &optim->o;
  for (int i = 0; i < optim->params.count; i++) {
    const qg_grad_sink *sink = optim->sinks[i];
    if (!is_held(optim, i) || sink->fused) continue;
    qg_sink_name(sink);
    QG_TRY(qg_step_guard_sum(&o->guard, o->be, sink->ops->accumulated(sink), i));
  }
  QG_TRY(qg_step_guard_read(&o->guard, o->be));
  for (int i = 0; i < optim->params.count; i++)
    if (is_held(optim, i) && !optim->sinks[i]->fused && !isfinite(o->guard.host_sums[i]))
      o->guard.discarded = true;
  return QG_OK;
}

static bool waits_to_refresh(const qg_optim *optim)
{
  for (int i = 0; i < optim->params.count; i++) {
    const qg_projected *p = projected_of(optim, i);
    if (p && p->accumulates && p->pending) return true;
  }
  return false;
}

/* In waves of as many as there are slots. */
static qg_status refresh_accumulated(qg_optim *optim)
{
  qg_refresher *r = optim->o.refresher;
  int count = 0;
  for (int i = 0; i < optim->params.count; i++) {
    qg_projected *p = projected_of(optim, i);
    if (!p || !p->sink.param->held || !p->pending || p->route != QG_REFRESH_ACCUMULATED) continue;
    r->pending[count++] = p;
    if (count < r->slots) continue;
    QG_TRY(qg_refresh(&optim->o, count, NULL));
    count = 0;
  }
  return count > 0 ? qg_refresh(&optim->o, count, NULL) : QG_OK;
}

/* A refresh outlives its step: where it has waited for the gradients, all of them are looked at before it. */
qg_status qg_optim_finish_gradients(qg_optim *optim)
{
  const qg_step_guard *guard = &optim->o.guard;
  if (guard->discarded) return QG_OK;
  for (int i = 0; i < optim->params.count; i++)
    if (is_held(optim, i) && optim->sinks[i]->ops->finish)
      QG_TRY(optim->sinks[i]->ops->finish(optim->sinks[i]));
  if (waits_to_refresh(optim)) QG_TRY(check_finite(optim));
  if (guard->discarded) return QG_OK;
  QG_TRY(refresh_accumulated(optim));
  for (int i = 0; i < optim->params.count; i++)
    if (is_held(optim, i) && optim->sinks[i]->ops->project)
      QG_TRY(optim->sinks[i]->ops->project(optim->sinks[i]));
  return QG_OK;
}

qg_status qg_optim_share_schedule(qg_optim *optim, qg_par *par)
{
  return qg_distributed_share(optim->sinks, optim->params.count, par);
}

qg_status qg_optim_refresh_distributed(qg_optim *optim, qg_par *par)
{
  return qg_distributed_refresh(optim->sinks, optim->params.count, par);
}

qg_status qg_optim_tied_gradients(qg_optim *optim, qg_view *embedding_part, qg_view *head_part)
{
  *embedding_part = *head_part = (qg_view){0};
  for (int i = 0; i < optim->params.count; i++) {
    if (!is_held(optim, i) || !optim->params.params[i].tied) continue;
    *embedding_part = optim->sinks[i]->ops->accumulated(optim->sinks[i]);
    *head_part = qg_tied_head_part(optim->sinks[i]);
  }
  return QG_OK;
}

static qg_status combine_parts(qg_optim *optim)
{
  for (int i = 0; i < optim->params.count; i++)
    if (is_held(optim, i) && optim->sinks[i]->ops->combine)
      QG_TRY(optim->sinks[i]->ops->combine(optim->sinks[i]));
  return QG_OK;
}

/* Fused ones were measured when their gradient was there. */
qg_status qg_optim_norms(qg_optim *optim, double *sum_squares)
{
  qg_optim_context *o = &optim->o;
  QG_TRY(combine_parts(optim));
  for (int i = 0; i < optim->params.count; i++) {
    const qg_grad_sink *sink = optim->sinks[i];
    if (!is_held(optim, i) || !optim->params.params[i].owned || sink->fused) continue;
    qg_sink_name(sink);
    QG_TRY(qg_step_guard_sum(&o->guard, o->be, sink->ops->gradient(sink), i));
  }
  QG_TRY(qg_step_guard_read(&o->guard, o->be));
  for (int i = 0; i < optim->params.count; i++)
    if (is_held(optim, i) && optim->params.params[i].owned)
      sum_squares[i] = o->guard.discarded ? NAN : o->guard.host_sums[i];
  return QG_OK;
}

qg_status qg_optim_apply(qg_optim *optim, double lr, double grad_scale)
{
  qg_step_rates rates = make_rates(optim, lr, grad_scale);
  QG_TRY(combine_parts(optim));
  for (int i = 0; i < optim->params.count; i++)
    if (is_held(optim, i) && !optim->sinks[i]->fused) QG_TRY(apply_sink(optim->sinks[i], &rates));
  return qg_weights_changed(optim->o.weights);
}

/* --- Reports --- */

qg_optim_stats qg_optim_get_stats(const qg_optim *optim)
{
  const qg_refresher *r = optim->o.refresher;
  qg_optim_stats stats = {.refreshes = r->step_refreshes,
                          .failed = r->step_failed,
                          .failed_refreshes = r->failed_refreshes,
                          .mean_energy = qg_refresher_mean_energy(r)};
  for (int i = 0; i < optim->params.count; i++) {
    const qg_tracker *tracker = qg_optim_tracker(optim, i);
    if (!tracker) continue;
    stats.total_refreshes += tracker->refreshes;
    stats.total_saved += tracker->saved;
  }
  return stats;
}

const qg_refresh_record *qg_optim_refreshes(const qg_optim *optim, int *count)
{
  *count = optim->o.refresher->step_refreshes;
  return optim->o.refresher->records;
}

qg_subspace_validation qg_optim_validation(const qg_optim *optim)
{
  return optim->o.refresher->validation;
}

const qg_tracker *qg_optim_tracker(const qg_optim *optim, int param)
{
  if (param < 0 || param >= optim->params.count || !is_held(optim, param)) return NULL;
  const qg_projected *p = projected_of(optim, param);
  return p ? &p->tracker : NULL;
}

qg_sink_info qg_optim_sink_info(const qg_optim *optim, int param)
{
  if (param < 0 || param >= optim->params.count || !is_held(optim, param)) return (qg_sink_info){0};
  const qg_grad_sink *sink = optim->sinks[param];
  const qg_projected *p = projected_of(optim, param);
  return (qg_sink_info){.sink = sink->ops->name,
                        .fused = sink->fused,
                        .gradient = sink->ops->gradient(sink),
                        .accumulated = sink->ops->accumulated(sink),
                        .rank = p ? p->projector.rank : 0,
                        .side = p ? p->projector.side : QG_SIDE_RIGHT};
}
