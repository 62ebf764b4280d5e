/* The weight that is read next is unpacked while the product of the one before runs. Two scratches take
 * turns: one is read, the other is filled.
 *
 *   queue:   read W0 | before | X W0^T        | wait for done | X W1^T
 *   beside:                     unpack W1 done
 *
 * `before` is recorded after everything that read the scratch which is filled and everything that changed the
 * codes of the next weight, and before the product that runs meanwhile: so one event stands for all that the
 * unpacking has to wait for. */
#include "weights/prefetch.h"

qg_status qg_weights_prefetch_param(void *impl, int param)
{
  qg_weights *weights = impl;
  qg_weight_prefetch *prefetch = &weights->prefetch;
  qg_backend *be = weights->be;
  qg_weight *w;
  QG_TRY(qg_weights_find(weights, param, &w));
  if (!prefetch->before || w->format != QG_WEIGHT_INT8) return QG_OK;
  qg_view weight = qg_view_make_padded(prefetch->scratch, be->compute, w->param.rows, w->param.cols);
  QG_TRY(be->ops->async->record(be, prefetch->before));
  QG_TRY(be->ops->async->dequantize_int8(be, w->codes, weight, prefetch->before, prefetch->done));
  prefetch->param = param;
  return QG_OK;
}

qg_status qg_weights_take_prefetched(qg_weights *weights, int param, bool *found)
{
  qg_weight_prefetch *prefetch = &weights->prefetch;
  *found = prefetch->param == param;
  if (!*found) return QG_OK;
  void *read_before = weights->scratch;
  weights->scratch = prefetch->scratch;
  prefetch->scratch = read_before;
  prefetch->param = -1;
  return weights->be->ops->async->wait_event(weights->be, prefetch->done);
}

qg_status qg_weights_drop_prefetched(qg_weights *weights)
{
  if (weights->prefetch.param < 0) return QG_OK;
  weights->prefetch.param = -1;
  return weights->be->ops->async->wait_event(weights->be, weights->prefetch.done);
}

qg_status qg_weights_begin_update(qg_weights *weights, int param)
{
  return weights->prefetch.param == param ? qg_weights_drop_prefetched(weights) : QG_OK;
}
