/* Wide matrices whose subspaces all ranks solve together. */
#include <stdlib.h>

#include "optim/internal.h"
#include "qgalore/base.h"
#include "qgalore/linalg/distributed.h"

static bool is_distributed(const qg_optim_param *p)
{
  return p->policy.projected && p->policy.route == QG_ROUTE_DISTRIBUTED;
}

/* A tied embedding is held twice; the lowest rank solves for it. Steps beyond 2^53 would not survive a
 * double. */
static void describe(const qg_optim *optim, const qg_optim_param *p, double *entry)
{
  entry[0] = p->held ? -(double)optim->options.this_rank : -(double)INT32_MAX;
  entry[1] = p->held ? (double)qg_tracker_next(&p->tracker) : -1.0;
}

static qg_status share(qg_optim *optim, qg_par *par, double *entries)
{
  int count = 0;
  for (int id = 0; id < optim->param_count; id++)
    if (is_distributed(&optim->params[id])) describe(optim, &optim->params[id], entries + 2 * count++);
  if (count == 0) return QG_OK;
  QG_TRY(qg_par_max(par, entries, 2 * count));
  count = 0;
  for (int id = 0; id < optim->param_count; id++) {
    qg_optim_param *p = &optim->params[id];
    if (!is_distributed(p)) continue;
    p->owner = (int)-entries[2 * count];
    p->next_refresh = (int64_t)entries[2 * count++ + 1];
  }
  return QG_OK;
}

qg_status qg_optim_share_schedule(qg_optim *optim, qg_par *par)
{
  void *memory;
  QG_TRY(qg_calloc(2 * (size_t)optim->param_count, sizeof(double), "the plan of distributed refreshes",
                   &memory));
  qg_status status = share(optim, par, memory);
  free(memory);
  return status;
}

static qg_subspace_job shape_of(const qg_optim_param *p)
{
  return (qg_subspace_job){.m = p->info.rows, .n = p->info.cols, .rank = p->policy.rank};
}

/* The owner alone, with what one rank can do. */
static qg_status try_alone(qg_optim *optim)
{
  qg_optim_refresher *r = &optim->refresher;
  return qg_subspace_solve(&optim->options.subspace, r->jobs, 1, r->workspace, r->workspace_bytes);
}

static qg_status finish_owner(qg_optim *optim, qg_optim_param *p)
{
  if (optim->refresher.jobs[0].status == QG_ERR_NUMERICAL) QG_TRY(try_alone(optim));
  QG_TRY(qg_optim_accept_job(optim, 0));
  p->next_refresh = qg_tracker_next(&p->tracker);
  return qg_optim_project(optim, p, 0.0f);
}

/* QG_ERR_NUMERICAL: there is nothing to solve at this step. */
static qg_status prepare_owner(qg_optim *optim, qg_optim_param *p)
{
  if (optim->discarded) return QG_FAIL(QG_ERR_NUMERICAL, "the gradient of %s is not finite", p->info.name);
  optim->refresher.pending[0] = p;
  QG_TRY(qg_optim_prepare_job(optim, 0, NULL));
  return optim->be->ops->sync(optim->be);
}

/* All ranks go through the same collectives whatever happens to one of them: errors are agreed upon where
 * they can arise. */
static qg_status refresh_one(qg_optim *optim, qg_par *par, qg_optim_param *p)
{
  qg_optim_refresher *r = &optim->refresher;
  bool owner = p->owner == optim->options.this_rank;
  qg_subspace_job shape = shape_of(p), *job = owner ? r->jobs : &shape;
  qg_status status = qg_par_agree(par, owner ? prepare_owner(optim, p) : QG_OK);
  if (status != QG_OK) return status == QG_ERR_NUMERICAL ? QG_OK : status;
  status = qg_subspace_solve_distributed(par, p->owner, job, r->distributed, r->distributed_bytes);
  if (status != QG_OK && status != QG_ERR_NUMERICAL) return status;
  QG_TRY(qg_par_agree(par, owner ? finish_owner(optim, p) : QG_OK));
  double next = owner ? (double)p->next_refresh : -1.0;
  QG_TRY(qg_par_max(par, &next, 1));
  p->next_refresh = (int64_t)next;
  p->refresh_pending = false;
  return QG_OK;
}

qg_status qg_optim_refresh_distributed(qg_optim *optim, qg_par *par)
{
  for (int id = 0; id < optim->param_count; id++) {
    qg_optim_param *p = &optim->params[id];
    if (is_distributed(p) && p->refresh_pending) QG_TRY(refresh_one(optim, par, p));
  }
  return QG_OK;
}
