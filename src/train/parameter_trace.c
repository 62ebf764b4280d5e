#include "train/parameter_trace.h"

#include <stddef.h>

static const qg_param_port *note(void *impl, int param)
{
  const qg_parameter_trace *p = impl;
  p->timers->parameter = param;
  return p->inner;
}

static qg_status read_param(void *impl, int param, qg_view *out)
{
  const qg_param_port *inner = note(impl, param);
  return inner->read(inner->impl, param, out);
}

/* It is about the matrix after the current one, so nothing is noted. */
static qg_status prefetch(void *impl, int param)
{
  const qg_parameter_trace *p = impl;
  return p->inner->prefetch(p->inner->impl, param);
}

static qg_status read_rows(void *impl, int param, int64_t first, int64_t count, qg_view *out)
{
  const qg_param_port *inner = note(impl, param);
  return inner->read_rows(inner->impl, param, first, count, out);
}

static qg_status matrix_grad(void *impl, int param, qg_view dy, qg_view x)
{
  const qg_param_port *inner = note(impl, param);
  return inner->matrix_grad(inner->impl, param, dy, x);
}

static qg_status matrix_done(void *impl, int param)
{
  const qg_param_port *inner = note(impl, param);
  return inner->matrix_done(inner->impl, param);
}

static qg_status row_grad(void *impl, int param, const int32_t *ids, qg_view dx)
{
  const qg_param_port *inner = note(impl, param);
  return inner->row_grad(inner->impl, param, ids, dx);
}

static qg_status vector_grad(void *impl, int param, float **out)
{
  const qg_param_port *inner = note(impl, param);
  return inner->vector_grad(inner->impl, param, out);
}

void qg_parameter_trace_make(const qg_param_port *inner, qg_timers *timers, qg_parameter_trace *out)
{
  *out = (qg_parameter_trace){.inner = inner, .timers = timers};
  out->port = (qg_param_port){.impl = out,
                              .read = read_param,
                              .prefetch = inner->prefetch ? prefetch : NULL,
                              .read_rows = read_rows,
                              .matrix_grad = matrix_grad,
                              .matrix_done = inner->matrix_done ? matrix_done : NULL,
                              .row_grad = row_grad,
                              .vector_grad = vector_grad};
}
