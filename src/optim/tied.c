#include "optim/tied.h"

#include "qgalore/base.h"

typedef struct {
  qg_dense_sink dense; /* its gradient: the part of the lookups, and then the sum */
  float *head_part;
  bool combined; /* at this step */
  qg_grad_sink_ops ops;
} tied_sink;

static tied_sink *tied(const qg_grad_sink *sink)
{
  return (tied_sink *)sink;
}

qg_view qg_tied_head_part(const qg_grad_sink *sink)
{
  return qg_view_make(tied(sink)->head_part, QG_F32, sink->param->rows, sink->param->cols);
}

static qg_status take(qg_grad_sink *sink, qg_mem *mem)
{
  size_t bytes = qg_dtype_bytes(QG_F32, qg_param_elements(sink->param));
  QG_TRY(qg_mem_alloc(mem, QG_OWNER_GRADIENTS, sink->param->name, bytes, (void **)&tied(sink)->head_part));
  return qg_dense_ops.take(sink, mem);
}

static void release(qg_grad_sink *sink, qg_mem *mem)
{
  size_t bytes = qg_dtype_bytes(QG_F32, qg_param_elements(sink->param));
  qg_mem_free(mem, QG_OWNER_GRADIENTS, bytes, tied(sink)->head_part);
  qg_dense_ops.release(sink, mem);
}

static qg_status begin(qg_grad_sink *sink)
{
  qg_view head_part = qg_tied_head_part(sink);
  tied(sink)->combined = false;
  QG_TRY(qg_dense_ops.begin(sink));
  if (!sink->param->held) return QG_OK;
  return sink->o->be->ops->zero(sink->o->be, head_part.data,
                                qg_dtype_bytes(QG_F32, head_part.rows * head_part.cols));
}

static qg_status add_matrix(qg_grad_sink *sink, qg_view dy, qg_view x)
{
  return qg_multiply_transposed(sink->o->be, dy, x, 1.0f, qg_tied_head_part(sink));
}

static qg_status combine(qg_grad_sink *sink)
{
  if (tied(sink)->combined) return QG_OK;
  tied(sink)->combined = true;
  return sink->o->be->ops->axpy(sink->o->be, 1.0f, qg_tied_head_part(sink), sink->ops->gradient(sink));
}

qg_status qg_tied_create_sink(const qg_grad_sink *sink, qg_grad_sink **out)
{
  tied_sink *t;
  QG_TRY(qg_calloc(1, sizeof *t, "a gradient sink", (void **)&t));
  *t = (tied_sink){
      .dense = {.sink = *sink, .moments = qg_moments_make(&sink->o->options, qg_param_elements(sink->param))},
      .ops = qg_dense_ops};
  t->ops.name = "tied";
  t->ops.take = take;
  t->ops.release = release;
  t->ops.begin = begin;
  t->ops.add_matrix = add_matrix;
  t->ops.combine = combine;
  t->dense.sink.ops = &t->ops;
  *out = &t->dense.sink;
  return QG_OK;
}
