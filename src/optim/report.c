/* What reports and tests ask of an optimizer. */
#include "optim/optim_private.h"
#include "optim/refresher.h"

qg_optim_stats qg_optim_get_stats(const qg_optim *optim)
{
  const qg_refresher *r = optim->o.refresher;
  qg_optim_stats stats = {.refreshes = r->step_refreshes,
                          .failed = r->step_failed,
                          .failed_refreshes = r->failed_refreshes,
                          .mean_energy = qg_refresher_mean_energy(r)};
  for (int i = 0; i < optim->params.count; i++) {
    const qg_tracker *tracker = qg_optim_tracker(optim, i);
    if (!tracker) continue;
    stats.total_refreshes += tracker->refreshes;
    stats.total_saved += tracker->saved;
  }
  return stats;
}

const qg_refresh_record *qg_optim_refreshes(const qg_optim *optim, int *count)
{
  *count = optim->o.refresher->step_refreshes;
  return optim->o.refresher->records;
}

qg_subspace_validation qg_optim_validation(const qg_optim *optim)
{
  return optim->o.refresher->validation;
}

const qg_tracker *qg_optim_tracker(const qg_optim *optim, int param)
{
  if (param < 0 || param >= optim->params.count || !qg_optim_is_held(optim, param)) return NULL;
  const qg_projected *p = qg_optim_projected(optim, param);
  return p ? &p->tracker : NULL;
}

qg_sink_info qg_optim_sink_info(const qg_optim *optim, int param)
{
  if (param < 0 || param >= optim->params.count || !qg_optim_is_held(optim, param)) return (qg_sink_info){0};
  const qg_grad_sink *sink = optim->sinks[param];
  const qg_projected *p = qg_optim_projected(optim, param);
  return (qg_sink_info){.sink = sink->ops->name,
                        .fused = sink->fused,
                        .gradient = sink->ops->gradient(sink),
                        .accumulated = sink->ops->accumulated(sink),
                        .rank = p ? p->projector.rank : 0,
                        .side = p ? p->projector.side : QG_SIDE_RIGHT};
}
