/* Weights as the model reads them: in the backend's compute type. */
#include "optim/internal.h"

/* Rows [first, first + count) where they can be read: in place if the stored type is `type`, else in scratch.
 */
static qg_status read_part(qg_optim *optim, const qg_optim_param *p, int64_t first, int64_t count,
                           qg_dtype type, qg_view *out)
{
  qg_backend *be = optim->be;
  int64_t cols = p->info.cols;
  QG_CHECK(first >= 0 && count >= 0 && first + count <= p->info.rows, QG_ERR_RUNTIME,
           "rows %lld to %lld of %s, which has %lld", (long long)first, (long long)(first + count),
           p->info.name, (long long)p->info.rows);
  if (p->policy.int8) {
    /* Groups straddle rows, so dequantisation starts at the matrix' beginning. */
    qg_view whole = qg_view_make_padded(optim->scratch.weight, type, first + count, cols);
    QG_TRY(be->ops->dequantize_int8(be, p->codes, whole));
    *out = qg_view_rows(whole, first, count);
    return QG_OK;
  }
  qg_view stored = qg_view_rows(qg_view_make(p->values, p->policy.type, p->info.rows, cols), first, count);
  *out = stored;
  if (p->policy.type == type) return QG_OK;
  *out = qg_view_make_padded(optim->scratch.weight, type, count, cols);
  return be->ops->convert(be, *out, stored);
}

qg_status qg_optim_read(void *impl, int id, qg_view *out)
{
  qg_optim *optim = impl;
  qg_optim_param *p;
  QG_TRY(qg_optim_find(optim, id, &p));
  if (qg_optim_is_vector(p)) {
    *out = qg_view_make(p->compute_values, optim->be->compute, 1, p->info.cols);
    return QG_OK;
  }
  bool found;
  QG_TRY(qg_optim_take_prefetched(optim, p, &found));
  if (found) {
    *out = qg_view_make_padded(optim->scratch.weight, optim->be->compute, p->info.rows, p->info.cols);
    return QG_OK;
  }
  bool as_stored = !qg_optim_wants_weight_scratch(optim, p);
  qg_dtype type = as_stored ? p->policy.type : optim->be->compute;
  return read_part(optim, p, 0, p->info.rows, type, out);
}

qg_status qg_optim_read_rows(void *impl, int id, int64_t first, int64_t count, qg_view *out)
{
  qg_optim *optim = impl;
  qg_optim_param *p;
  QG_TRY(qg_optim_find(optim, id, &p));
  return read_part(optim, p, first, count, optim->be->compute, out);
}

qg_status qg_optim_convert_vectors(qg_optim *optim)
{
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (!p->held || !qg_optim_is_vector(p) || p->compute_values == p->values) continue;
    qg_view copy = qg_view_make(p->compute_values, optim->be->compute, 1, p->info.cols);
    QG_TRY(
        optim->be->ops->convert(optim->be, copy, qg_view_make(p->values, p->policy.type, 1, p->info.cols)));
  }
  return QG_OK;
}
