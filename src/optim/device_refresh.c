/* Due subspaces on a device that solves them itself: the gradient stays where it is, and only the basis
 * travels. */
#include "optim/internal.h"
#include "qgalore/base.h"

size_t qg_optim_device_solver_bytes(const qg_optim *optim)
{
  const qg_backend_ops *ops = optim->be->ops;
  size_t most = 0;
  for (int id = 0; ops->subspace && id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (!p->held || !p->policy.projected || p->policy.route == QG_ROUTE_DISTRIBUTED) continue;
    for (int warm = 0; warm < 2; warm++) {
      int64_t m = p->info.rows, n = p->info.cols;
      qg_subspace_try first = qg_subspace_first_try(optim->options.subspace.method, m, n, warm);
      size_t bytes = ops->subspace_bytes(optim->be, m, n, p->policy.rank, first.exact);
      if (bytes > most) most = bytes;
    }
  }
  return most;
}

/* A warm basis was refined, a random one made. */
static qg_subspace_method method_of(const qg_subspace_args *args)
{
  if (args->exact) return QG_SUBSPACE_EXACT;
  return args->previous ? QG_SUBSPACE_WARM : QG_SUBSPACE_RANDOMIZED;
}

qg_status qg_optim_solve_on_device(qg_optim *optim, int slot, bool *solved)
{
  const qg_optim_refresher *r = &optim->refresher;
  qg_subspace_job *job = &r->jobs[slot];
  const qg_subspace_options *options = &optim->options.subspace;
  qg_subspace_try first = qg_subspace_first_try(options->method, job->m, job->n, job->previous != NULL);
  qg_subspace_args args = {.gradient = qg_view_make(r->pending[slot]->full, QG_F32, job->m, job->n),
                           .rank = job->rank,
                           .exact = first.exact,
                           .previous = options->method == QG_SUBSPACE_RANDOMIZED ? NULL : job->previous,
                           .more_steps = first.more_steps,
                           .min_energy_ratio = options->min_energy_ratio,
                           .seed = job->seed,
                           .workspace = r->device_workspace,
                           .workspace_bytes = r->device_workspace_bytes,
                           .basis = job->basis,
                           .singular_values = job->singular_values};
  QG_TRY(optim->be->ops->subspace(optim->be, &args));
  *solved = args.accepted;
  if (!args.accepted) return QG_OK;
  job->energy = args.energy;
  job->used = method_of(&args);
  job->status = QG_OK;
  return QG_OK;
}
