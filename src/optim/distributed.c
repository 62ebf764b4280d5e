#include "optim/distributed.h"

#include <stdlib.h>

#include "optim/refresh.h"
#include "qgalore/base.h"
#include "qgalore/linalg/distributed.h"

typedef struct {
  qg_projected projected;
  int owner;            /* the rank that holds it; -1: not known yet */
  int64_t next_refresh; /* due from this step on, the same number on all ranks */
  qg_grad_sink_ops ops;
} distributed_sink;

/* The sink if it is one of these; else NULL. */
static distributed_sink *distributed(qg_grad_sink *sink)
{
  qg_projected *p = sink && sink->ops->projected ? sink->ops->projected(sink) : NULL;
  return p && p->route == QG_REFRESH_DISTRIBUTED ? (distributed_sink *)sink : NULL;
}

/* All ranks follow the plan that they shared. */
static qg_status begin(qg_grad_sink *sink)
{
  distributed_sink *d = (distributed_sink *)sink;
  d->projected.pending = sink->o->step >= d->next_refresh;
  return qg_accumulated_begin(&d->projected);
}

qg_status qg_distributed_create(const qg_grad_sink *sink, qg_grad_sink **out)
{
  distributed_sink *d;
  QG_TRY(qg_calloc(1, sizeof *d, "a gradient sink", (void **)&d));
  d->owner = -1;
  d->ops = qg_accumulated_ops;
  d->ops.name = "distributed";
  d->ops.begin = begin;
  qg_projected_init(&d->projected, sink, &d->ops, QG_REFRESH_DISTRIBUTED);
  *out = &d->projected.sink;
  return QG_OK;
}

/* A tied embedding is held twice; the lowest rank solves for it. Steps beyond 2^53 would not survive a
 * double. */
static void describe(const distributed_sink *d, double *entry)
{
  const qg_grad_sink *sink = &d->projected.sink;
  entry[0] = sink->param->held ? -(double)sink->o->options.this_rank : -(double)INT32_MAX;
  entry[1] = sink->param->held ? (double)qg_tracker_next(&d->projected.tracker) : -1.0;
}

static qg_status share(qg_grad_sink *const *sinks, int count, qg_par *par, double *entries)
{
  int shared = 0;
  for (int i = 0; i < count; i++)
    if (distributed(sinks[i])) describe(distributed(sinks[i]), entries + 2 * shared++);
  if (shared == 0) return QG_OK;
  QG_TRY(qg_par_max(par, entries, 2 * shared));
  shared = 0;
  for (int i = 0; i < count; i++) {
    distributed_sink *d = distributed(sinks[i]);
    if (!d) continue;
    d->owner = (int)-entries[2 * shared];
    d->next_refresh = (int64_t)entries[2 * shared++ + 1];
  }
  return QG_OK;
}

qg_status qg_distributed_share(qg_grad_sink *const *sinks, int count, qg_par *par)
{
  double *entries = NULL;
  QG_TRY(
      qg_calloc(2 * (size_t)count, sizeof *entries, "the plan of distributed refreshes", (void **)&entries));
  qg_status status = share(sinks, count, par, entries);
  free(entries);
  return status;
}

static qg_subspace_job shape_of(const qg_projected *p)
{
  return (qg_subspace_job){.m = p->sink.param->rows, .n = p->sink.param->cols, .rank = p->projector.rank};
}

/* Where the ranks have failed together, the owner tries alone. */
static qg_status finish_owner(distributed_sink *d)
{
  qg_projected *p = &d->projected;
  qg_optim_context *o = p->sink.o;
  qg_refresher *r = o->refresher;
  if (r->jobs[0].status == QG_ERR_NUMERICAL)
    QG_TRY(o->solver.solve(&o->solver, r->jobs, 1, r->workspace, r->workspace_bytes));
  QG_TRY(qg_refresh_accept(o, 0));
  d->next_refresh = qg_tracker_next(&p->tracker);
  return qg_projected_project(p, 0.0f);
}

/* QG_ERR_NUMERICAL: there is nothing to solve at this step. */
static qg_status prepare_owner(qg_projected *p)
{
  qg_optim_context *o = p->sink.o;
  if (o->guard.discarded)
    return QG_FAIL(QG_ERR_NUMERICAL, "the gradient of %s is not finite", p->sink.param->name);
  o->refresher->pending[0] = p;
  QG_TRY(qg_refresh_prepare(o, 0, NULL));
  return o->be->ops->sync(o->be);
}

/* All ranks go through the same collectives whatever happens to one of them: errors are agreed upon where
 * they can arise. */
static qg_status refresh_one(distributed_sink *d, qg_par *par)
{
  qg_projected *p = &d->projected;
  QG_CHECK(d->owner >= 0, QG_ERR_RUNTIME, "nobody knows who holds %s: qg_optim_share_schedule is missing",
           p->sink.param->name);
  qg_refresher *r = p->sink.o->refresher;
  bool owner = d->owner == p->sink.o->options.this_rank;
  qg_subspace_job shape = shape_of(p), *job = owner ? r->jobs : &shape;
  qg_status status = qg_par_agree(par, owner ? prepare_owner(p) : QG_OK);
  if (status != QG_OK) return status == QG_ERR_NUMERICAL ? QG_OK : status;
  status = qg_subspace_solve_distributed(par, d->owner, job, r->distributed, r->distributed_bytes);
  if (status != QG_OK && status != QG_ERR_NUMERICAL) return status;
  QG_TRY(qg_par_agree(par, owner ? finish_owner(d) : QG_OK));
  double next = owner ? (double)d->next_refresh : -1.0;
  QG_TRY(qg_par_max(par, &next, 1));
  d->next_refresh = (int64_t)next;
  p->pending = false;
  return QG_OK;
}

qg_status qg_distributed_refresh(qg_grad_sink *const *sinks, int count, qg_par *par)
{
  for (int i = 0; i < count; i++) {
    distributed_sink *d = distributed(sinks[i]);
    if (d && d->projected.pending) QG_TRY(refresh_one(d, par));
  }
  return QG_OK;
}
