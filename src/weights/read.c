/* Weights as the model reads them: in the backend's compute type, unpacked into scratch. */
#include "qgalore/base.h"
#include "weights/prefetch.h"
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

const qg_weight_reader *qg_weights_reader(qg_weights *weights)
{
  weights->reader = (qg_weight_reader){
      .impl = weights, .read = read_weight, .prefetch = qg_weights_prefetch_param, .read_rows = read_rows};
  return &weights->reader;
}

size_t qg_weights_scratch_bytes(const qg_weights *weights)
{
  int64_t largest = 0;
  for (int i = 0; i < weights->count; i++) {
    const qg_param *param = &weights->weights[i].param;
    if (qg_weights_unpacks(weights, i))
      largest = qg_max_i64(largest, param->rows * qg_padded_stride(param->cols));
  }
  return qg_dtype_bytes(weights->be->compute, largest);
}

bool qg_weights_prefetches(const qg_weights *weights)
{
  if (!weights->be->ops->async) return false;
  for (int i = 0; i < weights->count; i++)
    if (weights->weights[i].param.held && weights->weights[i].format == QG_WEIGHT_INT8) return true;
  return false;
}

void qg_weights_set_scratch(qg_weights *weights, void *scratch, void *next)
{
  weights->scratch = scratch;
  weights->prefetch.scratch = next;
}

qg_status qg_weights_take_scratch(qg_weights *weights, qg_mem *mem)
{
  size_t bytes = qg_weights_scratch_bytes(weights);
  void *scratch, *next = NULL;
  QG_TRY(qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "one unpacked weight", bytes, &scratch));
  if (qg_weights_prefetches(weights))
    QG_TRY(qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "the next unpacked weight", bytes, &next));
  qg_weights_set_scratch(weights, scratch, next);
  return QG_OK;
}

qg_status qg_weights_start(qg_weights *weights)
{
  qg_weight_prefetch *prefetch = &weights->prefetch;
  if (!prefetch->scratch) return QG_OK;
  QG_TRY(weights->be->ops->async->create_event(weights->be, &prefetch->before));
  return weights->be->ops->async->create_event(weights->be, &prefetch->done);
}
