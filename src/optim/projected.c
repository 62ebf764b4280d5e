#include "optim/projected.h"

#include "optim/chunks.h"
#include "qgalore/base.h"

static const qg_projected *projected(const qg_grad_sink *sink)
{
  return (const qg_projected *)sink;
}

qg_projected *qg_projected_of(qg_grad_sink *sink)
{
  return (qg_projected *)sink;
}

void qg_projected_init(qg_projected *p, const qg_grad_sink *sink, const qg_grad_sink_ops *ops,
                       qg_refresh_route route)
{
  const qg_optim_options *options = &sink->o->options;
  int64_t m = sink->param->rows, n = sink->param->cols;
  p->sink = *sink;
  p->sink.ops = ops;
  p->route = route;
  p->projector = qg_projector_make(options, m, n);
  p->rows = p->projector.side == QG_SIDE_RIGHT ? m : p->projector.rank;
  p->cols = p->projector.side == QG_SIDE_RIGHT ? p->projector.rank : n;
  p->moments = qg_moments_make(options, p->rows * p->cols);
  qg_tracker_init(&p->tracker, options->update_gap);
}

qg_status qg_projected_create(const qg_grad_sink *sink, const qg_grad_sink_ops *ops, qg_refresh_route route,
                              qg_grad_sink **out)
{
  qg_projected *p;
  QG_TRY(qg_calloc(1, sizeof *p, "a gradient sink", (void **)&p));
  qg_projected_init(p, sink, ops, route);
  *out = &p->sink;
  return QG_OK;
}

qg_status qg_projected_take(qg_grad_sink *sink, qg_mem *mem)
{
  qg_projected *p = qg_projected_of(sink);
  const char *name = sink->param->name;
  size_t low_rank = qg_dtype_bytes(sink->type, p->rows * p->cols);
  if (!sink->fused) QG_TRY(qg_mem_alloc(mem, QG_OWNER_GRADIENTS, name, low_rank, &p->low_rank));
  qg_sink_arrays projector = qg_projector_arrays(&p->projector);
  QG_TRY(qg_arrays_take(&projector, mem, QG_OWNER_PROJECTORS, name));
  qg_sink_arrays moments = qg_moments_arrays(&p->moments);
  return qg_arrays_take(&moments, mem, QG_OWNER_MOMENTS, name);
}

void qg_projected_release(qg_grad_sink *sink, qg_mem *mem)
{
  qg_projected *p = qg_projected_of(sink);
  if (!sink->fused)
    qg_mem_free(mem, QG_OWNER_GRADIENTS, qg_dtype_bytes(sink->type, p->rows * p->cols), p->low_rank);
  qg_sink_arrays projector = qg_projector_arrays(&p->projector);
  qg_arrays_release(&projector, mem, QG_OWNER_PROJECTORS);
  qg_sink_arrays moments = qg_moments_arrays(&p->moments);
  qg_arrays_release(&moments, mem, QG_OWNER_MOMENTS);
}

void qg_projected_measure(const qg_grad_sink *sink, qg_scratch_sizes *sizes)
{
  const qg_projected *p = projected(sink);
  int64_t block = p->moments.eight_bit ? p->moments.block : 1, low_rank = p->rows * p->cols;
  const qg_param *param = sink->param;
  qg_widen(&sizes->update, qg_chunk_rows(sink->o, param->rows, param->cols, QG_GROUP) * param->cols);
  qg_widen(&sizes->basis, qg_projector_elements(&p->projector));
  qg_widen(&sizes->delta, low_rank);
  qg_widen(&sizes->rank, p->projector.rank);
  qg_widen(&sizes->full, qg_param_elements(param));
  qg_widen(&sizes->mixed, qg_chunk_rows(sink->o, p->rows, p->cols, block) * p->cols);
  if (sink->fused) qg_widen(&sizes->fused, low_rank);
  sizes->projected++;
}

void qg_projected_share(qg_grad_sink *sink, const qg_shared_gradients *shared)
{
  if (sink->fused) qg_projected_of(sink)->low_rank = shared->low_rank;
}

/* The place in the plan of refreshes is the model's, not the run's. */
static void reset_tracker(qg_tracker *tracker, int64_t update_gap)
{
  int64_t phase = tracker->phase;
  qg_tracker_init(tracker, update_gap);
  tracker->phase = phase;
}

qg_status qg_projected_reset(qg_grad_sink *sink)
{
  qg_projected *p = qg_projected_of(sink);
  reset_tracker(&p->tracker, sink->o->options.update_gap);
  qg_sink_arrays projector = qg_projector_arrays(&p->projector);
  QG_TRY(qg_arrays_clear(&projector, sink->o->be));
  qg_sink_arrays moments = qg_moments_arrays(&p->moments);
  return qg_arrays_clear(&moments, sink->o->be);
}

static qg_status list_tracker(const qg_param *param, qg_tracker *tracker, qg_state_list *list)
{
  QG_TRY(qg_param_append_state(param, "tracker", "interval", QG_I64, 1, &tracker->interval, false, list));
  QG_TRY(qg_param_append_state(param, "tracker", "last_refresh", QG_I64, 1, &tracker->last_refresh, false,
                               list));
  QG_TRY(qg_param_append_state(param, "tracker", "refreshes", QG_I64, 1, &tracker->refreshes, false, list));
  QG_TRY(qg_param_append_state(param, "tracker", "saved", QG_I64, 1, &tracker->saved, false, list));
  QG_TRY(qg_param_append_state(param, "tracker", "count", QG_I32, 1, &tracker->count, false, list));
  return qg_param_append_state(param, "tracker", "queue", QG_F32, QG_TRACKER_WINDOW_MAX, tracker->queue,
                               false, list);
}

qg_status qg_projected_list_state(qg_grad_sink *sink, qg_state_list *list)
{
  qg_projected *p = qg_projected_of(sink);
  qg_sink_arrays projector = qg_projector_arrays(&p->projector), moments = qg_moments_arrays(&p->moments);
  QG_TRY(qg_arrays_list_state(&projector, "projector", sink->param, list));
  QG_TRY(qg_arrays_list_state(&moments, "moments", sink->param, list));
  return list_tracker(sink->param, &p->tracker, list);
}

/* Trackers must not lead outside an array or to a division by zero. */
static bool is_sound(const qg_tracker *tracker)
{
  return tracker->interval >= 1 && tracker->last_refresh >= -1 && tracker->refreshes >= 0 &&
         tracker->saved >= 0 && tracker->count >= 0 && tracker->count <= QG_TRACKER_WINDOW_MAX;
}

qg_status qg_projected_state_loaded(qg_grad_sink *sink)
{
  const qg_tracker *tracker = &projected(sink)->tracker;
  QG_CHECK(
      is_sound(tracker), QG_ERR_CHECKPOINT,
      "the checkpoint's refresh tracker of %s makes no sense (interval %lld, %d similarities); use an older "
      "checkpoint",
      sink->param->name, (long long)tracker->interval, (int)tracker->count);
  return QG_OK;
}

qg_view qg_projected_gradient(const qg_grad_sink *sink)
{
  const qg_projected *p = projected(sink);
  return qg_view_make(p->low_rank, sink->type, p->rows, p->cols);
}

/* Without a subspace there is nothing to update by, and requantising would only add noise. */
bool qg_projected_is_ready(const qg_grad_sink *sink)
{
  return qg_projected_has_basis(projected(sink));
}

qg_status qg_projected_shrink(qg_projected *p, qg_view operand, qg_view *low)
{
  qg_backend *be = p->sink.o->be;
  qg_view basis;
  QG_TRY(qg_projector_read(p->sink.o, &p->projector, be->compute, &basis));
  *low = qg_view_make(p->sink.o->scratch.low_rank, be->compute, operand.rows, p->projector.rank);
  qg_gemm_args gemm = {
      .a = operand, .b = basis, .c = *low, .trans_b = p->projector.side == QG_SIDE_RIGHT, .alpha = 1.0f};
  return be->ops->gemm(be, &gemm);
}

qg_status qg_projected_add(qg_projected *p, qg_view dy, qg_view x)
{
  bool right = p->projector.side == QG_SIDE_RIGHT;
  qg_view low;
  QG_TRY(qg_projected_shrink(p, right ? x : dy, &low));
  return qg_multiply_transposed(p->sink.o->be, right ? dy : low, right ? low : x, qg_sink_keep(&p->sink),
                                qg_projected_gradient(&p->sink));
}

qg_status qg_projected_project(qg_projected *p, float beta)
{
  qg_view full = qg_projected_full(p), basis;
  bool right = p->projector.side == QG_SIDE_RIGHT;
  qg_sink_name(&p->sink);
  QG_TRY(qg_projector_read(p->sink.o, &p->projector, QG_F32, &basis));
  qg_gemm_args gemm = {
      .a = right ? full : basis,
      .b = right ? basis : full,
      .c = qg_projected_gradient(&p->sink),
      .trans_a = !right,
      .trans_b = right,
      .alpha = 1.0f,
      .beta = beta,
  };
  return p->sink.o->be->ops->gemm(p->sink.o->be, &gemm);
}

/* Rows of scale * back(delta). */
static qg_status project_back(const qg_projected *p, qg_view basis, qg_view delta, int64_t first,
                              int64_t rows)
{
  const qg_optim_context *o = p->sink.o;
  bool right = p->projector.side == QG_SIDE_RIGHT;
  qg_gemm_args gemm = {
      .a = qg_view_rows(right ? delta : basis, first, rows),
      .b = right ? basis : delta,
      .c = qg_view_make(o->scratch.update.device, QG_F32, rows, p->sink.param->cols),
      .alpha = (float)o->options.scale,
  };
  return o->be->ops->gemm(o->be, &gemm);
}

qg_status qg_projected_apply(qg_grad_sink *sink, const qg_step_rates *rates)
{
  const qg_projected *p = projected(sink);
  qg_optim_context *o = sink->o;
  int64_t rows = sink->param->rows, cols = sink->param->cols, step = qg_chunk_rows(o, rows, cols, QG_GROUP);
  qg_view delta = qg_view_make(o->scratch.delta, o->be->compute, p->rows, p->cols), basis;
  QG_TRY(qg_moments_adam(sink, &p->moments, rates, 0, p->rows * p->cols, delta.data, delta.type));
  QG_TRY(qg_projector_read(o, &p->projector, o->be->compute, &basis));
  for (int64_t first = 0; first < rows; first += step) {
    int64_t count = qg_min_i64(step, rows - first);
    QG_TRY(project_back(p, basis, delta, first, count));
    QG_TRY(qg_sink_store_update(sink, rates, first * cols, count * cols));
  }
  return QG_OK;
}
