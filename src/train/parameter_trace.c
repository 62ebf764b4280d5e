#include "train/parameter_trace.h"

#include <stddef.h>

static const qg_weight_reader *reader(void *impl, int param)
{
  const qg_parameter_trace *trace = impl;
  trace->timers->parameter = param;
  return trace->inner_weights;
}

static const qg_gradient_port *port(void *impl, int param)
{
  const qg_parameter_trace *trace = impl;
  trace->timers->parameter = param;
  return trace->inner_gradients;
}

static qg_status read_param(void *impl, int param, qg_view *out)
{
  const qg_weight_reader *inner = reader(impl, param);
  return inner->read(inner->impl, param, out);
}

/* Of the matrix after the one at work, so nothing is noted. */
static qg_status prefetch(void *impl, int param)
{
  const qg_weight_reader *inner = ((const qg_parameter_trace *)impl)->inner_weights;
  return inner->prefetch(inner->impl, param);
}

static qg_status read_rows(void *impl, int param, int64_t first, int64_t count, qg_view *out)
{
  const qg_weight_reader *inner = reader(impl, param);
  return inner->read_rows(inner->impl, param, first, count, out);
}

static qg_status add_matrix(void *impl, int param, qg_view dy, qg_view x)
{
  const qg_gradient_port *inner = port(impl, param);
  return inner->add_matrix(inner->impl, param, dy, x);
}

static qg_status add_rows(void *impl, int param, const int32_t *ids, qg_view dx)
{
  const qg_gradient_port *inner = port(impl, param);
  return inner->add_rows(inner->impl, param, ids, dx);
}

static qg_status vector(void *impl, int param, float **out)
{
  const qg_gradient_port *inner = port(impl, param);
  return inner->vector(inner->impl, param, out);
}

static qg_status complete(void *impl, int param)
{
  const qg_gradient_port *inner = port(impl, param);
  return inner->complete(inner->impl, param);
}

void qg_parameter_trace_make(const qg_weight_reader *weights, const qg_gradient_port *gradients,
                             qg_timers *timers, qg_parameter_trace *out)
{
  *out = (qg_parameter_trace){.inner_weights = weights, .inner_gradients = gradients, .timers = timers};
  out->weights = (qg_weight_reader){.impl = out,
                                    .read = read_param,
                                    .prefetch = weights->prefetch ? prefetch : NULL,
                                    .read_rows = read_rows};
  out->gradients = (qg_gradient_port){
      .impl = out, .add_matrix = add_matrix, .add_rows = add_rows, .vector = vector, .complete = complete};
}
