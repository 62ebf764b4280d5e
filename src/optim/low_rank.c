#include "optim/low_rank.h"

#include "optim/refresh.h"
#include "qgalore/base.h"

static qg_status begin(qg_grad_sink *sink)
{
  qg_projected *p = qg_projected_of(sink);
  p->pending = qg_tracker_due(&p->tracker, sink->o->step);
  sink->fresh = true;
  return QG_OK;
}

static void measure_implicit(const qg_projected *p, qg_scratch_sizes *sizes)
{
  int64_t m = p->sink.param->rows, n = p->sink.param->cols;
  int64_t count = qg_subspace_directions(p->projector.rank, qg_min_i64(m, n));
  qg_widen(&sizes->implicit_count, count);
  qg_widen(&sizes->implicit_block, count * qg_max_i64(m, n));
}

static void measure(const qg_grad_sink *sink, qg_scratch_sizes *sizes)
{
  const qg_projected *p = (const qg_projected *)sink;
  qg_projected_measure(sink, sizes);
  if (p->route == QG_REFRESH_IMPLICIT) measure_implicit(p, sizes);
  if (p->route == QG_REFRESH_FULL || sink->o->options.full_gradient)
    qg_widen(&sizes->formed, qg_param_elements(sink->param));
}

static void share(qg_grad_sink *sink, const qg_shared_gradients *shared)
{
  qg_projected_of(sink)->full = shared->formed;
  qg_projected_share(sink, shared);
}

/* Forms G of this micro-batch, in memory that weights are unpacked in, and projects it. */
static qg_status add_full(qg_projected *p, qg_view dy, qg_view x)
{
  qg_optim_context *o = p->sink.o;
  QG_TRY(qg_weights_drop_prefetched(o->weights));
  QG_TRY(qg_multiply_transposed(o->be, dy, x, 0.0f, qg_projected_full(p)));
  if (p->pending) QG_TRY(qg_refresh_now(p, NULL));
  return qg_projected_project(p, qg_sink_keep(&p->sink));
}

static qg_status refresh_implicitly(qg_projected *p, qg_view dy, qg_view x)
{
  qg_implicit_gradient implicit = p->sink.o->refresher->implicit;
  implicit.dy = dy;
  implicit.x = x;
  return qg_refresh_now(p, &implicit);
}

static qg_status add_matrix(qg_grad_sink *sink, qg_view dy, qg_view x)
{
  qg_projected *p = qg_projected_of(sink);
  bool full_gradient = sink->o->options.full_gradient, implicit = p->route == QG_REFRESH_IMPLICIT;
  if (full_gradient || (p->pending && !implicit)) return add_full(p, dy, x);
  if (p->pending) QG_TRY(refresh_implicitly(p, dy, x));
  return qg_projected_add(p, dy, x);
}

static bool refreshes_in_backward(const qg_grad_sink *sink)
{
  return ((const qg_projected *)sink)->pending;
}

static qg_status finish(qg_grad_sink *sink)
{
  return sink->fresh && !sink->fused ? qg_sink_clear(sink, qg_projected_gradient(sink)) : QG_OK;
}

static const qg_grad_sink_ops low_rank_ops = {.name = "low rank",
                                              .take = qg_projected_take,
                                              .release = qg_projected_release,
                                              .measure = measure,
                                              .share = share,
                                              .reset = qg_projected_reset,
                                              .list_state = qg_projected_list_state,
                                              .state_loaded = qg_projected_state_loaded,
                                              .projected = qg_projected_of,
                                              .begin = begin,
                                              .add_matrix = add_matrix,
                                              .refreshes_in_backward = refreshes_in_backward,
                                              .finish = finish,
                                              .accumulated = qg_projected_gradient,
                                              .gradient = qg_projected_gradient,
                                              .is_ready = qg_projected_is_ready,
                                              .apply = qg_projected_apply};

qg_status qg_low_rank_create(const qg_grad_sink *sink, qg_refresh_route route, qg_grad_sink **out)
{
  return qg_projected_create(sink, &low_rank_ops, route, out);
}
