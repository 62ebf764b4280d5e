#include "optim/dense.h"

#include "qgalore/base.h"

static qg_dense_sink *dense(const qg_grad_sink *sink)
{
  return (qg_dense_sink *)sink;
}

static qg_view gradient(const qg_grad_sink *sink)
{
  return qg_view_make(dense(sink)->gradient, sink->type, sink->param->rows, sink->param->cols);
}

static qg_status take(qg_grad_sink *sink, qg_mem *mem)
{
  qg_dense_sink *d = dense(sink);
  size_t bytes = qg_dtype_bytes(sink->type, qg_param_elements(sink->param));
  if (!sink->fused) QG_TRY(qg_mem_alloc(mem, QG_OWNER_GRADIENTS, sink->param->name, bytes, &d->gradient));
  qg_sink_arrays moments = qg_moments_arrays(&d->moments);
  return qg_arrays_take(&moments, mem, QG_OWNER_MOMENTS, sink->param->name);
}

static void release(qg_grad_sink *sink, qg_mem *mem)
{
  qg_dense_sink *d = dense(sink);
  size_t bytes = qg_dtype_bytes(sink->type, qg_param_elements(sink->param));
  if (!sink->fused) qg_mem_free(mem, QG_OWNER_GRADIENTS, bytes, d->gradient);
  qg_sink_arrays moments = qg_moments_arrays(&d->moments);
  qg_arrays_release(&moments, mem, QG_OWNER_MOMENTS);
}

static void measure(const qg_grad_sink *sink, qg_scratch_sizes *sizes)
{
  if (!sink->fused) return;
  sizes->dense_bytes =
      qg_max_size(sizes->dense_bytes, qg_dtype_bytes(sink->type, qg_param_elements(sink->param)));
  sizes->head_in_scratch |= sink->param->in_parts && qg_weights_unpacks(sink->o->weights, sink->index);
}

static void share(qg_grad_sink *sink, const qg_shared_gradients *shared)
{
  if (sink->fused) dense(sink)->gradient = shared->dense;
}

static qg_status reset(qg_grad_sink *sink)
{
  qg_sink_arrays moments = qg_moments_arrays(&dense(sink)->moments);
  return qg_arrays_clear(&moments, sink->o->be);
}

static qg_status list_state(qg_grad_sink *sink, qg_state_list *list)
{
  qg_sink_arrays moments = qg_moments_arrays(&dense(sink)->moments);
  return qg_arrays_list_state(&moments, "moments", sink->param, list);
}

/* Rows are added to; what products make needs no clearing before the first of them. Memory that is shared is
 * cleared when its turn comes. */
static qg_status begin(qg_grad_sink *sink)
{
  sink->fresh = true;
  return sink->param->looked_up && !sink->fused && sink->param->held ? qg_sink_clear(sink, gradient(sink))
                                                                     : QG_OK;
}

/* The gradient that fused ones share lies where weights are unpacked. */
static qg_status add_matrix(qg_grad_sink *sink, qg_view dy, qg_view x)
{
  if (sink->fused) QG_TRY(qg_weights_drop_prefetched(sink->o->weights));
  return qg_multiply_transposed(sink->o->be, dy, x, qg_sink_keep(sink), gradient(sink));
}

/* A fused embedding has one micro-batch, so these are all its rows. */
static qg_status add_rows(qg_grad_sink *sink, const int32_t *ids, qg_view dx)
{
  if (sink->fused) {
    QG_TRY(qg_weights_drop_prefetched(sink->o->weights));
    QG_TRY(qg_sink_clear(sink, gradient(sink)));
  }
  return sink->o->be->ops->embed_backward(sink->o->be, ids, dx, gradient(sink));
}

static qg_status finish(qg_grad_sink *sink)
{
  return sink->fresh && !sink->fused ? qg_sink_clear(sink, gradient(sink)) : QG_OK;
}

static qg_status apply(qg_grad_sink *sink, const qg_step_rates *rates)
{
  return qg_sink_apply_dense(sink, &dense(sink)->moments, rates);
}

const qg_grad_sink_ops qg_dense_ops = {.name = "dense",
                                       .take = take,
                                       .release = release,
                                       .measure = measure,
                                       .share = share,
                                       .reset = reset,
                                       .list_state = list_state,
                                       .begin = begin,
                                       .add_matrix = add_matrix,
                                       .add_rows = add_rows,
                                       .finish = finish,
                                       .accumulated = gradient,
                                       .gradient = gradient,
                                       .apply = apply};

qg_status qg_dense_create(const qg_grad_sink *sink, qg_grad_sink **out)
{
  qg_dense_sink *d;
  QG_TRY(qg_calloc(1, sizeof *d, "a gradient sink", (void **)&d));
  *d = (qg_dense_sink){.sink = *sink,
                       .moments = qg_moments_make(&sink->o->options, qg_param_elements(sink->param))};
  d->sink.ops = &qg_dense_ops;
  *out = &d->sink;
  return QG_OK;
}
