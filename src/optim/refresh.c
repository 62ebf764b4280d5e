/* Due subspaces: from the gradient G of a matrix to its new projector. */
#include <math.h>

#include "optim/internal.h"
#include "qgalore/base.h"

/* A start of its own for every (run, step, matrix), whichever rank solves it. */
uint64_t qg_optim_refresh_seed(const qg_optim *optim, const qg_optim_param *p)
{
  qg_rng rng = {optim->options.seed, (uint64_t)optim->step, (uint32_t)p->info.id, QG_RNG_SUBSPACE};
  qg_rng_block block = qg_rng_draw(rng, 0);
  return (uint64_t)block.v[1] << 32 | block.v[0];
}

static qg_status fetch_gradient(qg_optim *optim, int slot, const float **gradient)
{
  qg_optim_refresher *r = &optim->refresher;
  const qg_optim_param *p = r->pending[slot];
  *gradient = p->full;
  if (!r->gradients) return QG_OK;
  float *host = r->gradients + slot * r->gradient_stride;
  *gradient = host;
  return optim->be->ops->copy_out(optim->be, host, p->full, qg_dtype_bytes(QG_F32, qg_optim_elements(p)));
}

/* All but the gradient. */
static qg_status describe_job(qg_optim *optim, int slot, const qg_implicit_gradient *implicit)
{
  qg_optim_refresher *r = &optim->refresher;
  const qg_optim_param *p = r->pending[slot];
  float *previous = r->previous + slot * r->basis_stride;
  qg_optim_name(optim, p);
  if (qg_optim_has_projector(p)) QG_TRY(qg_optim_projector_fetch(optim, p, previous));
  r->jobs[slot] = (qg_subspace_job){
      .m = p->info.rows,
      .n = p->info.cols,
      .rank = p->policy.rank,
      .implicit = implicit,
      .previous = qg_optim_has_projector(p) ? previous : NULL,
      .basis = r->basis + slot * r->basis_stride,
      .singular_values = r->singular_values + slot * r->rank_stride,
      .seed = qg_optim_refresh_seed(optim, p),
  };
  return QG_OK;
}

qg_status qg_optim_prepare_job(qg_optim *optim, int slot, const qg_implicit_gradient *implicit)
{
  QG_TRY(describe_job(optim, slot, implicit));
  return implicit ? QG_OK : fetch_gradient(optim, slot, &optim->refresher.jobs[slot].gradient);
}

/* The old subspace is what was stored, rounded to INT4; the new one is as it was solved. Leaves the change of
 * basis in refresher.rotation. */
static double compare(const qg_optim *optim, const qg_optim_param *p, const qg_subspace_job *job)
{
  int64_t side = qg_min_i64(job->m, job->n);
  float *rotation = optim->refresher.rotation;
  if (!job->previous) return NAN;
  qg_subspace_rotation(p->policy.side, side, job->rank, job->previous, job->basis, rotation);
  return optim->options.similarity == QG_SIMILARITY_OVERLAP
             ? qg_subspace_overlap(job->rank, rotation)
             : qg_subspace_cosine(p->policy.side, side, job->rank, job->previous, job->basis);
}

void qg_optim_note_refresh(qg_optim *optim, qg_optim_param *p, double similarity, double energy,
                           qg_subspace_method used)
{
  p->refresh_pending = false;
  optim->touched = true;
  qg_tracker_refreshed(&p->tracker, optim->step, similarity, &optim->options);
  optim->records[optim->step_refreshes++] = (qg_refresh_record){.param = p->info.id,
                                                                .similarity = similarity,
                                                                .energy = energy,
                                                                .interval = p->tracker.interval,
                                                                .used = used};
}

/* A matrix that never had a projector keeps a zero one: its update is zero until a refresh succeeds. */
qg_status qg_optim_accept_job(qg_optim *optim, int slot)
{
  const qg_subspace_job *job = &optim->refresher.jobs[slot];
  qg_optim_param *p = optim->refresher.pending[slot];
  p->refresh_pending = false;
  qg_optim_name(optim, p);
  if (job->status != QG_OK) {
    optim->failed_refreshes++;
    optim->step_failed++;
    return QG_OK;
  }
  double similarity = compare(optim, p, job);
  if (qg_optim_rotates(optim, p)) {
    QG_TRY(qg_optim_place_rotation(optim, job->rank));
    QG_TRY(qg_optim_rotate_moments(optim, p));
  }
  QG_TRY(qg_optim_projector_store(optim, p, job->basis));
  qg_optim_note_refresh(optim, p, similarity, job->energy, job->used);
  return QG_OK;
}

static qg_status refresh_on_host(qg_optim *optim, int count, const qg_implicit_gradient *implicit)
{
  qg_optim_refresher *r = &optim->refresher;
  for (int slot = 0; slot < count; slot++) QG_TRY(qg_optim_prepare_job(optim, slot, implicit));
  QG_TRY(optim->be->ops->sync(optim->be));
  QG_TRY(qg_subspace_solve(&optim->options.subspace, r->jobs, count, r->workspace, r->workspace_bytes));
  for (int slot = 0; slot < count; slot++) QG_TRY(qg_optim_accept_job(optim, slot));
  return QG_OK;
}

/* One after the other: each has the device to itself. What it does not settle goes to the host, in the first
 * slot, whose own parameter has been dealt with. */
static qg_status refresh_on_device(qg_optim *optim, int count)
{
  qg_optim_param **pending = optim->refresher.pending;
  for (int i = 0; i < count; i++) {
    bool done;
    QG_TRY(qg_optim_refresh_on_device(optim, pending[i], &done));
    if (done) continue;
    pending[0] = pending[i];
    QG_TRY(refresh_on_host(optim, 1, NULL));
  }
  return QG_OK;
}

qg_status qg_optim_refresh(qg_optim *optim, int count, const qg_implicit_gradient *implicit)
{
  bool device = optim->be->ops->subspace && !implicit;
  return device ? refresh_on_device(optim, count) : refresh_on_host(optim, count, implicit);
}

qg_status qg_optim_refresh_pending(qg_optim *optim)
{
  int count = 0;
  for (int id = 0; id < optim->param_count; id++) {
    qg_optim_param *p = &optim->params[id];
    if (!p->held || !p->refresh_pending || p->policy.route != QG_ROUTE_GATHERED) continue;
    optim->refresher.pending[count++] = p;
    if (count < optim->refresher.slots) continue;
    QG_TRY(qg_optim_refresh(optim, count, NULL));
    count = 0;
  }
  return count > 0 ? qg_optim_refresh(optim, count, NULL) : QG_OK;
}
