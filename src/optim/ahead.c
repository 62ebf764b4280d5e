/* The weight that is read next is unpacked while the product of the one before runs. Two halves of scratch
 * take turns: one is read, the other is filled.
 *
 *   queue:   read W0 | before | X W0^T        | wait_event done | X W1^T
 *   unpack:                     unpack W1 done
 *
 * `before` is recorded after everything that read the half which is filled and everything that changed the
 * codes of the next weight, and before the product that runs meanwhile: so one event stands for all that the
 * unpacking has to wait for. */
#include "optim/internal.h"

qg_status qg_optim_open_ahead(qg_optim *optim)
{
  qg_optim_ahead *ahead = &optim->ahead;
  const qg_backend_async_ops *async = optim->be->ops->async;
  ahead->param = -1;
  if (!ahead->weight) return QG_OK;
  QG_TRY(async->create_event(optim->be, &ahead->before));
  return async->create_event(optim->be, &ahead->done);
}

void qg_optim_close_ahead(qg_optim *optim)
{
  const qg_optim_ahead *ahead = &optim->ahead;
  if (ahead->before) optim->be->ops->async->destroy_event(optim->be, ahead->before);
  if (ahead->done) optim->be->ops->async->destroy_event(optim->be, ahead->done);
}

qg_status qg_optim_prefetch(void *impl, int id)
{
  qg_optim *optim = impl;
  qg_optim_ahead *ahead = &optim->ahead;
  qg_backend *be = optim->be;
  qg_optim_param *p;
  QG_TRY(qg_optim_find(optim, id, &p));
  if (!ahead->weight || !p->policy.int8) return QG_OK;
  qg_view weight = qg_view_make_padded(ahead->weight, be->compute, p->info.rows, p->info.cols);
  QG_TRY(be->ops->async->record(be, ahead->before));
  QG_TRY(be->ops->async->dequantize_int8(be, p->codes, weight, ahead->before, ahead->done));
  ahead->param = id;
  return QG_OK;
}

qg_status qg_optim_take_prefetched(qg_optim *optim, const qg_optim_param *p, bool *found)
{
  qg_optim_ahead *ahead = &optim->ahead;
  *found = ahead->param == p->info.id;
  if (!*found) return QG_OK;
  void *read_before = optim->scratch.weight;
  optim->scratch.weight = ahead->weight;
  ahead->weight = read_before;
  ahead->param = -1;
  return optim->be->ops->async->wait_event(optim->be, ahead->done);
}

qg_status qg_optim_forget_prefetched(qg_optim *optim, const qg_optim_param *p)
{
  return optim->ahead.param == p->info.id ? qg_optim_drop_prefetched(optim) : QG_OK;
}

qg_status qg_optim_drop_prefetched(qg_optim *optim)
{
  if (optim->ahead.param < 0) return QG_OK;
  optim->ahead.param = -1;
  return optim->be->ops->async->wait_event(optim->be, optim->ahead.done);
}
