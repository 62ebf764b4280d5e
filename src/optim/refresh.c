/* Due subspaces: from the gradient G of a matrix to its new projector. */
#include "optim/internal.h"
#include "qgalore/base.h"

/* A start of its own for every (run, step, matrix), whichever rank solves it. */
static uint64_t job_seed(const qg_optim *optim, const qg_optim_param *p)
{
  qg_rng rng = {optim->options.seed, (uint64_t)optim->step, (uint32_t)p->info.id, QG_RNG_SUBSPACE};
  qg_rng_block block = qg_rng_draw(rng, 0);
  return (uint64_t)block.v[1] << 32 | block.v[0];
}

static bool has_projector(const qg_optim_param *p)
{
  return p->tracker.last_refresh >= 0;
}

static qg_status prepare(qg_optim *optim, int slot)
{
  qg_optim_refresher *r = &optim->refresher;
  const qg_optim_param *p = r->pending[slot];
  float *previous = r->previous + slot * r->basis_stride;
  const float *gradient = p->full;
  if (r->gradients) {
    float *host = r->gradients + slot * r->gradient_stride;
    size_t bytes = qg_dtype_bytes(QG_F32, qg_optim_elements(p));
    QG_TRY(optim->be->ops->copy_out(optim->be, host, p->full, bytes));
    gradient = host;
  }
  if (has_projector(p)) QG_TRY(qg_optim_projector_fetch(optim, p, previous));
  qg_subspace_job job = {
      .m = p->info.rows,
      .n = p->info.cols,
      .rank = p->policy.rank,
      .gradient = gradient,
      .previous = has_projector(p) ? previous : NULL,
      .basis = r->basis + slot * r->basis_stride,
      .singular_values = r->singular_values + slot * r->rank_stride,
      .seed = job_seed(optim, p),
  };
  r->jobs[slot] = job;
  return QG_OK;
}

/* The old subspace is what was stored, rounded to INT4; the new one is as it was solved. */
static double similarity_of(const qg_optim *optim, const qg_optim_param *p, const qg_subspace_job *job)
{
  if (!job->previous) return 0.0;
  int64_t side = qg_min_i64(job->m, job->n);
  return optim->options.similarity == QG_SIMILARITY_OVERLAP
             ? qg_subspace_overlap(p->policy.side, side, job->rank, job->previous, job->basis)
             : qg_subspace_cosine(p->policy.side, side, job->rank, job->previous, job->basis);
}

static qg_status accept(qg_optim *optim, int slot)
{
  const qg_subspace_job *job = &optim->refresher.jobs[slot];
  qg_optim_param *p = optim->refresher.pending[slot];
  p->refresh_pending = false;
  if (job->status != QG_OK) {
    QG_CHECK(
        has_projector(p), QG_ERR_NUMERICAL,
        "no subspace for %s at step %lld: its first gradient is not finite or the solver did not converge; "
        "lower the learning rate or set subspace.method = exact",
        p->info.name, (long long)optim->step);
    optim->failed_refreshes++;
    return QG_OK;
  }
  QG_TRY(qg_optim_projector_store(optim, p, job->basis));
  qg_tracker_refreshed(&p->tracker, optim->step, similarity_of(optim, p, job), &optim->options);
  optim->step_refreshes++;
  optim->step_energy += job->energy;
  return QG_OK;
}

qg_status qg_optim_refresh(qg_optim *optim, int count)
{
  qg_optim_refresher *r = &optim->refresher;
  for (int slot = 0; slot < count; slot++) QG_TRY(prepare(optim, slot));
  QG_TRY(optim->be->ops->sync(optim->be));
  QG_TRY(qg_subspace_solve(&optim->options.subspace, r->jobs, count, r->workspace, r->workspace_bytes));
  for (int slot = 0; slot < count; slot++) QG_TRY(accept(optim, slot));
  return QG_OK;
}

qg_status qg_optim_refresh_pending(qg_optim *optim)
{
  int count = 0;
  for (int id = 0; id < optim->param_count; id++) {
    qg_optim_param *p = &optim->params[id];
    if (!p->refresh_pending) continue;
    optim->refresher.pending[count++] = p;
    if (count < optim->refresher.slots) continue;
    QG_TRY(qg_optim_refresh(optim, count));
    count = 0;
  }
  return count > 0 ? qg_optim_refresh(optim, count) : QG_OK;
}
