#include "optim/vector.h"

#include "qgalore/base.h"

typedef struct {
  qg_grad_sink sink;
  float *gradient; /* [cols] */
  qg_moments moments;
} vector_sink;

static vector_sink *vector_of(const qg_grad_sink *sink)
{
  return (vector_sink *)sink;
}

static qg_view gradient(const qg_grad_sink *sink)
{
  return qg_view_make(vector_of(sink)->gradient, QG_F32, 1, sink->param->cols);
}

static qg_status take(qg_grad_sink *sink, qg_mem *mem)
{
  vector_sink *v = vector_of(sink);
  size_t bytes = qg_dtype_bytes(QG_F32, sink->param->cols);
  QG_TRY(qg_mem_alloc(mem, QG_OWNER_GRADIENTS, sink->param->name, bytes, (void **)&v->gradient));
  qg_sink_arrays moments = qg_moments_arrays(&v->moments);
  return qg_arrays_take(&moments, mem, QG_OWNER_MOMENTS, sink->param->name);
}

static void release(qg_grad_sink *sink, qg_mem *mem)
{
  vector_sink *v = vector_of(sink);
  qg_mem_free(mem, QG_OWNER_GRADIENTS, qg_dtype_bytes(QG_F32, sink->param->cols), v->gradient);
  qg_sink_arrays moments = qg_moments_arrays(&v->moments);
  qg_arrays_release(&moments, mem, QG_OWNER_MOMENTS);
}

static qg_status reset(qg_grad_sink *sink)
{
  qg_sink_arrays moments = qg_moments_arrays(&vector_of(sink)->moments);
  return qg_arrays_clear(&moments, sink->o->be);
}

static qg_status list_state(qg_grad_sink *sink, qg_state_list *list)
{
  qg_sink_arrays moments = qg_moments_arrays(&vector_of(sink)->moments);
  return qg_arrays_list_state(&moments, "moments", sink->param, list);
}

static qg_status begin(qg_grad_sink *sink)
{
  return sink->param->held ? qg_sink_clear(sink, gradient(sink)) : QG_OK;
}

static float *accumulator(qg_grad_sink *sink)
{
  return vector_of(sink)->gradient;
}

static qg_status apply(qg_grad_sink *sink, const qg_step_rates *rates)
{
  return qg_sink_apply_dense(sink, &vector_of(sink)->moments, rates);
}

static const qg_grad_sink_ops vector_ops = {.name = "vector",
                                            .take = take,
                                            .release = release,
                                            .reset = reset,
                                            .list_state = list_state,
                                            .begin = begin,
                                            .vector = accumulator,
                                            .accumulated = gradient,
                                            .gradient = gradient,
                                            .apply = apply};

qg_status qg_vector_create(const qg_grad_sink *sink, qg_grad_sink **out)
{
  vector_sink *v;
  QG_TRY(qg_calloc(1, sizeof *v, "a gradient sink", (void **)&v));
  *v = (vector_sink){.sink = *sink, .moments = qg_moments_make(&sink->o->options, sink->param->cols)};
  v->sink.ops = &vector_ops;
  *out = &v->sink;
  return QG_OK;
}
