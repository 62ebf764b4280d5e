#include "optim/port.h"

#include "qgalore/base/fault.h"

/* A gradient that is not finite ends the updates of this step: neither it nor what backward still brings
 * reaches any state, and norms are NaN. */
static qg_status apply_in_backward(qg_grad_sink *sink, const qg_step_rates *rates)
{
  qg_optim_context *o = sink->o;
  qg_optim_start(o, QG_PHASE_UPDATE);
  QG_TRY(qg_step_guard_note(&o->guard, o->be, sink->ops->gradient(sink), sink->index));
  QG_TRY(qg_sink_apply(sink, rates));
  qg_optim_stop(o, QG_PHASE_UPDATE);
  return QG_OK;
}

/* The sink of a parameter held here; NULL: its gradient is not wanted. */
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

qg_gradient_port qg_optim_make_port(qg_optim *optim)
{
  return (qg_gradient_port){
      .impl = optim, .add_matrix = add_matrix, .add_rows = add_rows, .vector = vector, .complete = complete};
}

const qg_gradient_port *qg_optim_port(qg_optim *optim)
{
  return &optim->port;
}
