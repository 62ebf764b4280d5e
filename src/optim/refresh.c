#include "optim/refresh.h"

#include <math.h>

#include "optim/refresh_device.h"
#include "optim/rotation.h"
#include "qgalore/base.h"

static qg_status fetch_gradient(qg_optim_context *o, int job, const float **gradient)
{
  qg_refresher *r = o->refresher;
  const qg_projected *p = r->pending[job];
  *gradient = p->full;
  if (!r->gradients) return QG_OK;
  float *host = r->gradients + job * r->gradient_stride;
  *gradient = host;
  return o->be->ops->copy_out(o->be, host, p->full, qg_dtype_bytes(QG_F32, qg_param_elements(p->sink.param)));
}

/* All but the gradient. */
static qg_status describe_job(qg_optim_context *o, int job, const qg_implicit_gradient *implicit)
{
  qg_refresher *r = o->refresher;
  const qg_projected *p = r->pending[job];
  float *previous = r->previous + job * r->basis_stride;
  qg_sink_name(&p->sink);
  if (qg_projected_has_basis(p)) QG_TRY(qg_projector_fetch(o, &p->projector, previous));
  r->jobs[job] = (qg_subspace_job){
      .m = p->sink.param->rows,
      .n = p->sink.param->cols,
      .rank = p->projector.rank,
      .implicit = implicit,
      .previous = qg_projected_has_basis(p) ? previous : NULL,
      .basis = r->basis + job * r->basis_stride,
      .singular_values = r->singular_values + job * r->rank_stride,
      .seed = qg_refresh_seed(p),
  };
  return QG_OK;
}

qg_status qg_refresh_prepare(qg_optim_context *o, int job, const qg_implicit_gradient *implicit)
{
  QG_TRY(describe_job(o, job, implicit));
  return implicit ? QG_OK : fetch_gradient(o, job, &o->refresher->jobs[job].gradient);
}

/* The old subspace is what was stored, rounded to INT4; the new one is as it was solved. Leaves the change of
 * basis in refresher->rotation. */
static double compare(const qg_projected *p, const qg_subspace_job *job)
{
  const qg_optim_context *o = p->sink.o;
  int64_t side = qg_min_i64(job->m, job->n);
  float *rotation = o->refresher->rotation;
  if (!job->previous) return NAN;
  qg_subspace_rotation(p->projector.side, side, job->rank, job->previous, job->basis, rotation);
  return o->options.similarity == QG_SIMILARITY_OVERLAP
             ? qg_subspace_overlap(job->rank, rotation)
             : qg_subspace_cosine(p->projector.side, side, job->rank, job->previous, job->basis);
}

/* A matrix that never had a projector keeps a zero one: its update is zero until a refresh succeeds. */
qg_status qg_refresh_accept(qg_optim_context *o, int job)
{
  qg_refresher *r = o->refresher;
  const qg_subspace_job *solved = &r->jobs[job];
  qg_projected *p = r->pending[job];
  p->pending = false;
  qg_sink_name(&p->sink);
  if (solved->status != QG_OK) {
    r->failed_refreshes++;
    r->step_failed++;
    return QG_OK;
  }
  double similarity = compare(p, solved);
  if (qg_rotates(p)) {
    QG_TRY(qg_rotation_place(o, r->rotation, solved->rank));
    QG_TRY(qg_rotate_moments(p));
  }
  QG_TRY(qg_projector_store(o, &p->projector, solved->basis));
  qg_refresher_note(r, p, similarity, solved->energy, solved->used);
  return QG_OK;
}

static qg_status refresh_on_host(qg_optim_context *o, int count, const qg_implicit_gradient *implicit)
{
  qg_refresher *r = o->refresher;
  for (int job = 0; job < count; job++) QG_TRY(qg_refresh_prepare(o, job, implicit));
  QG_TRY(o->be->ops->sync(o->be));
  QG_TRY(o->solver.solve(&o->solver, r->jobs, count, r->workspace, r->workspace_bytes));
  for (int job = 0; job < count; job++) QG_TRY(qg_refresh_accept(o, job));
  return QG_OK;
}

/* One after the other: each has the device to itself. What it does not settle goes to the host, as the first
 * job, whose own sink has been dealt with. */
static qg_status refresh_on_device(qg_optim_context *o, int count)
{
  qg_projected **pending = o->refresher->pending;
  for (int i = 0; i < count; i++) {
    bool done;
    QG_TRY(qg_refresh_on_device(pending[i], &done));
    if (done) continue;
    pending[0] = pending[i];
    QG_TRY(refresh_on_host(o, 1, NULL));
  }
  return QG_OK;
}

qg_status qg_refresh(qg_optim_context *o, int count, const qg_implicit_gradient *implicit)
{
  bool device = o->be->ops->subspace && !implicit;
  return device ? refresh_on_device(o, count) : refresh_on_host(o, count, implicit);
}

/* The host waits for what it solves anyway, so it may as well ask first whether this step still counts. */
qg_status qg_refresh_now(qg_projected *p, const qg_implicit_gradient *implicit)
{
  qg_optim_context *o = p->sink.o;
  QG_TRY(qg_step_guard_read(&o->guard, o->be));
  if (o->guard.discarded) return QG_OK;
  qg_optim_start(o, QG_PHASE_REFRESH);
  o->refresher->pending[0] = p;
  QG_TRY(qg_refresh(o, 1, implicit));
  qg_optim_stop(o, QG_PHASE_REFRESH);
  return QG_OK;
}
