/* Weights as the model reads them: in the backend's compute type. */
#include "weights/read.h"

#include "weights/weights_private.h"

/* The embedding kernel reads either type, so a table that is only looked up is handed out as it is stored. */
static bool is_read_as_stored(const qg_weights *weights, const qg_weight *w)
{
  if (w->format == QG_WEIGHT_INT8) return false;
  return qg_weight_type(w) == weights->be->compute || !w->param.multiplied;
}

bool qg_weights_unpacks(const qg_weights *weights, int param)
{
  const qg_weight *w = &weights->weights[param];
  return w->param.held && !qg_param_is_vector(&w->param) && !is_read_as_stored(weights, w);
}

/* Rows [first, first + count): in place if they are stored in `type`, else in the scratch. */
static qg_status read_part(const qg_weights *weights, const qg_weight *w, int64_t first, int64_t count,
                           qg_dtype type, qg_view *out)
{
  qg_backend *be = weights->be;
  int64_t rows = w->param.rows, cols = w->param.cols;
  QG_CHECK(first >= 0 && count >= 0 && first + count <= rows, QG_ERR_RUNTIME,
           "rows %lld to %lld of %s, which has %lld", (long long)first, (long long)(first + count),
           w->param.name, (long long)rows);
  if (w->format == QG_WEIGHT_INT8) {
    /* Groups straddle rows, so dequantisation starts at the beginning of the matrix. */
    qg_view whole = qg_view_make_padded(weights->scratch, type, first + count, cols);
    QG_TRY(be->ops->dequantize_int8(be, w->codes, whole));
    *out = qg_view_rows(whole, first, count);
    return QG_OK;
  }
  qg_view stored = qg_view_rows(qg_view_make(w->values, qg_weight_type(w), rows, cols), first, count);
  *out = stored;
  if (stored.type == type) return QG_OK;
  *out = qg_view_make_padded(weights->scratch, type, count, cols);
  return be->ops->convert(be, *out, stored);
}

static qg_status read_weight(void *impl, int param, qg_view *out)
{
  qg_weights *weights = impl;
  qg_dtype compute = weights->be->compute;
  qg_weight *w;
  bool found;
  QG_TRY(qg_weights_find(weights, param, &w));
  if (qg_param_is_vector(&w->param)) {
    *out = qg_view_make(w->compute_values, compute, 1, w->param.cols);
    return QG_OK;
  }
  QG_TRY(qg_weights_take_prefetched(weights, param, &found));
  if (found) {
    *out = qg_view_make_padded(weights->scratch, compute, w->param.rows, w->param.cols);
    return QG_OK;
  }
  qg_dtype type = is_read_as_stored(weights, w) ? qg_weight_type(w) : compute;
  return read_part(weights, w, 0, w->param.rows, type, out);
}

static qg_status read_rows(void *impl, int param, int64_t first, int64_t count, qg_view *out)
{
  const qg_weights *weights = impl;
  qg_weight *w;
  QG_TRY(qg_weights_find(weights, param, &w));
  return read_part(weights, w, first, count, weights->be->compute, out);
}

qg_weight_reader qg_weights_make_reader(qg_weights *weights)
{
  return (qg_weight_reader){
      .impl = weights, .read = read_weight, .prefetch = qg_weights_prefetch_param, .read_rows = read_rows};
}
