/* One step of the optimizer: a loop over the gradient sinks of its parameters. */
#include "qgalore/optim.h"

#include <math.h>

#include "optim/distributed.h"
#include "optim/optim_private.h"
#include "optim/refresh.h"
#include "optim/tied.h"
#include "qgalore/base.h"
#include "qgalore/base/fault.h"

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
    if (!qg_optim_is_held(optim, i)) continue;
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

/* Memory was taken for `micro_batches` of them, and a batch of more would refresh from a part of it. */
qg_status qg_optim_end_micro_batch(qg_optim *optim, int64_t index)
{
  QG_CHECK(index >= 0 && index < optim->o.micro_batches, QG_ERR_RUNTIME,
           "micro-batch %lld of an optimizer made for %lld a step", (long long)index,
           (long long)optim->o.micro_batches);
  return QG_OK;
}

/* Discards the step if a gradient of this stage is not finite. Fused ones have been looked at, one by one. */
static qg_status check_finite(qg_optim *optim)
{
  qg_optim_context *o = &optim->o;
  for (int i = 0; i < optim->params.count; i++) {
    const qg_grad_sink *sink = optim->sinks[i];
    if (!qg_optim_is_held(optim, i) || sink->fused) continue;
    qg_sink_name(sink);
    QG_TRY(qg_step_guard_sum(&o->guard, o->be, sink->ops->accumulated(sink), i));
  }
  QG_TRY(qg_step_guard_read(&o->guard, o->be));
  for (int i = 0; i < optim->params.count; i++)
    if (qg_optim_is_held(optim, i) && !optim->sinks[i]->fused && !isfinite(o->guard.host_sums[i]))
      o->guard.discarded = true;
  return QG_OK;
}

static bool waits_to_refresh(const qg_optim *optim)
{
  for (int i = 0; i < optim->params.count; i++) {
    const qg_projected *p = qg_optim_projected(optim, i);
    if (p && p->accumulates && p->pending) return true;
  }
  return false;
}

/* In waves of as many as there is memory for. */
static qg_status refresh_accumulated(qg_optim *optim)
{
  qg_refresher *r = optim->o.refresher;
  int count = 0;
  for (int i = 0; i < optim->params.count; i++) {
    qg_projected *p = qg_optim_projected(optim, i);
    if (!p || !p->sink.param->held || !p->pending || p->route != QG_REFRESH_ACCUMULATED) continue;
    r->pending[count++] = p;
    if (count < r->wave) continue;
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
    if (qg_optim_is_held(optim, i) && optim->sinks[i]->ops->finish)
      QG_TRY(optim->sinks[i]->ops->finish(optim->sinks[i]));
  if (waits_to_refresh(optim)) QG_TRY(check_finite(optim));
  if (guard->discarded) return QG_OK;
  QG_TRY(refresh_accumulated(optim));
  for (int i = 0; i < optim->params.count; i++)
    if (qg_optim_is_held(optim, i) && optim->sinks[i]->ops->project)
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
    if (!qg_optim_is_held(optim, i) || !optim->params.params[i].tied) continue;
    *embedding_part = optim->sinks[i]->ops->accumulated(optim->sinks[i]);
    *head_part = qg_tied_head_part(optim->sinks[i]);
  }
  return QG_OK;
}

static qg_status combine_parts(qg_optim *optim)
{
  for (int i = 0; i < optim->params.count; i++)
    if (qg_optim_is_held(optim, i) && optim->sinks[i]->ops->combine)
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
    if (!qg_optim_is_held(optim, i) || !optim->params.params[i].owned || sink->fused) continue;
    qg_sink_name(sink);
    QG_TRY(qg_step_guard_sum(&o->guard, o->be, sink->ops->gradient(sink), i));
  }
  QG_TRY(qg_step_guard_read(&o->guard, o->be));
  for (int i = 0; i < optim->params.count; i++)
    if (qg_optim_is_held(optim, i) && optim->params.params[i].owned)
      sum_squares[i] = o->guard.discarded ? NAN : o->guard.host_sums[i];
  return QG_OK;
}

qg_status qg_optim_apply(qg_optim *optim, double lr, double grad_scale)
{
  qg_step_rates rates = make_rates(optim, lr, grad_scale);
  QG_TRY(combine_parts(optim));
  for (int i = 0; i < optim->params.count; i++)
    if (qg_optim_is_held(optim, i) && !optim->sinks[i]->fused) QG_TRY(qg_sink_apply(optim->sinks[i], &rates));
  return qg_weights_changed(optim->o.weights);
}
