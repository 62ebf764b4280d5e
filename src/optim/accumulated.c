#include "optim/accumulated.h"

#include "qgalore/base.h"

static const qg_projected *projected(const qg_grad_sink *sink)
{
  return (const qg_projected *)sink;
}

static qg_status take(qg_grad_sink *sink, qg_mem *mem)
{
  size_t full = qg_dtype_bytes(QG_F32, qg_param_elements(sink->param));
  QG_TRY(qg_projected_take(sink, mem));
  return qg_mem_alloc(mem, QG_OWNER_GRADIENTS, sink->param->name, full,
                      (void **)&qg_projected_of(sink)->full);
}

static void release(qg_grad_sink *sink, qg_mem *mem)
{
  size_t full = qg_dtype_bytes(QG_F32, qg_param_elements(sink->param));
  qg_mem_free(mem, QG_OWNER_GRADIENTS, full, qg_projected_of(sink)->full);
  qg_projected_release(sink, mem);
}

static void measure(const qg_grad_sink *sink, qg_scratch_sizes *sizes)
{
  qg_projected_measure(sink, sizes);
  sizes->waiting += projected(sink)->route == QG_REFRESH_ACCUMULATED;
}

qg_status qg_accumulated_begin(qg_projected *p)
{
  qg_grad_sink *sink = &p->sink;
  if (!sink->param->held) return QG_OK;
  p->accumulates = p->pending || sink->o->options.full_gradient;
  sink->fresh = true;
  if (sink->param->looked_up) QG_TRY(qg_sink_clear(sink, qg_projected_gradient(sink)));
  if (!p->accumulates) return QG_OK;
  return sink->o->be->ops->zero(sink->o->be, p->full, qg_dtype_bytes(QG_F32, qg_param_elements(sink->param)));
}

static qg_status begin(qg_grad_sink *sink)
{
  qg_projected *p = qg_projected_of(sink);
  p->pending = qg_tracker_due(&p->tracker, sink->o->step);
  return qg_accumulated_begin(p);
}

static qg_status add_matrix(qg_grad_sink *sink, qg_view dy, qg_view x)
{
  qg_projected *p = qg_projected_of(sink);
  if (!p->accumulates) return qg_projected_add(p, dy, x);
  return qg_multiply_transposed(sink->o->be, dy, x, 1.0f, qg_projected_full(p));
}

/* Rows of the gradient; of its projection (dX P^T) where that is what accumulates. */
static qg_status add_rows(qg_grad_sink *sink, const int32_t *ids, qg_view dx)
{
  qg_projected *p = qg_projected_of(sink);
  qg_backend *be = sink->o->be;
  qg_view rows;
  if (p->accumulates) return be->ops->embed_backward(be, ids, dx, qg_projected_full(p));
  QG_TRY(qg_projected_shrink(p, dx, &rows));
  return be->ops->embed_backward(be, ids, rows, qg_projected_gradient(sink));
}

static qg_status finish(qg_grad_sink *sink)
{
  if (!sink->fresh || projected(sink)->accumulates) return QG_OK;
  return qg_sink_clear(sink, qg_projected_gradient(sink));
}

/* Of a subspace that is still due somebody else projects. */
static qg_status project(qg_grad_sink *sink)
{
  qg_projected *p = qg_projected_of(sink);
  return p->accumulates && !p->pending ? qg_projected_project(p, 0.0f) : QG_OK;
}

static qg_view accumulated(const qg_grad_sink *sink)
{
  const qg_projected *p = projected(sink);
  return p->accumulates ? qg_projected_full(p) : qg_projected_gradient(sink);
}

const qg_grad_sink_ops qg_accumulated_ops = {.name = "accumulated full gradient",
                                             .take = take,
                                             .release = release,
                                             .measure = measure,
                                             .share = qg_projected_share,
                                             .reset = qg_projected_reset,
                                             .list_state = qg_projected_list_state,
                                             .state_loaded = qg_projected_state_loaded,
                                             .projected = qg_projected_of,
                                             .begin = begin,
                                             .add_matrix = add_matrix,
                                             .add_rows = add_rows,
                                             .finish = finish,
                                             .project = project,
                                             .accumulated = accumulated,
                                             .gradient = qg_projected_gradient,
                                             .is_ready = qg_projected_is_ready,
                                             .apply = qg_projected_apply};

qg_status qg_accumulated_create(const qg_grad_sink *sink, qg_grad_sink **out)
{
  return qg_projected_create(sink, &qg_accumulated_ops, QG_REFRESH_ACCUMULATED, out);
}
