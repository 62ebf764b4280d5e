/* All that changes weights: fresh ones, updates, and values as fp32 from and to the host. */
#include <string.h>

#include "qgalore/backend/host.h"
#include "qgalore/base.h"
#include "weights/weights_private.h"

static const float INIT_DEVIATION = 0.02f;

static qg_int8_rule rule_of(const qg_weights *weights)
{
  const qg_weight_options *options = &weights->options;
  return (qg_int8_rule){options->include_zero, options->stochastic, options->bf16_arithmetic};
}

static qg_status update_int8(qg_weights *weights, const qg_weight *w, const qg_weight_update *u, qg_rng rng)
{
  qg_update_int8_args args = {.store = w->codes,
                              .first = u->first,
                              .count = u->count,
                              .update = u->update,
                              .decay = u->decay,
                              .rule = rule_of(weights),
                              .rng = rng,
                              .guard = u->guard};
  return weights->be->ops->update_int8(weights->be, &args);
}

static qg_status update_dense(qg_weights *weights, const qg_weight *w, const qg_weight_update *u, qg_rng rng)
{
  qg_dtype type = qg_weight_type(w);
  qg_update_dense_args args = {.weights = (char *)w->values + qg_dtype_bytes(type, u->first),
                               .type = type,
                               .first = u->first,
                               .count = u->count,
                               .update = u->update,
                               .decay = u->decay,
                               .stochastic = weights->options.stochastic,
                               .rng = rng,
                               .guard = u->guard};
  return weights->be->ops->update_dense(weights->be, &args);
}

qg_status qg_weights_update(qg_weights *weights, const qg_weight_update *u)
{
  qg_weight *w;
  QG_TRY(qg_weights_find(weights, u->param, &w));
  qg_rng rng = {weights->options.seed, (uint64_t)u->step, (uint32_t)w->param.id, QG_RNG_ROUND};
  return w->format == QG_WEIGHT_INT8 ? update_int8(weights, w, u, rng) : update_dense(weights, w, u, rng);
}

qg_status qg_weights_changed(qg_weights *weights)
{
  qg_backend *be = weights->be;
  for (int i = 0; i < weights->count; i++) {
    const qg_weight *w = &weights->weights[i];
    int64_t cols = w->param.cols;
    if (!w->param.held || !qg_param_is_vector(&w->param) || w->compute_values == w->values) continue;
    QG_TRY(be->ops->convert(be, qg_view_make(w->compute_values, be->compute, 1, cols),
                            qg_view_make(w->values, qg_weight_type(w), 1, cols)));
  }
  return QG_OK;
}

int64_t qg_weights_staging_elements(const qg_weights *weights)
{
  int64_t most = weights->be->update_elements, elements = 0;
  for (int i = 0; i < weights->count; i++)
    if (weights->weights[i].param.held)
      elements = qg_max_i64(elements, qg_min_i64(most, qg_param_elements(&weights->weights[i].param)));
  return elements;
}

qg_status qg_weight_staging_take(qg_mem *mem, const qg_backend *be, int64_t elements, qg_weight_staging *out)
{
  const char *what = "rows of an update, or fresh weights";
  size_t bytes = qg_dtype_bytes(QG_F32, elements);
  *out = (qg_weight_staging){.elements = elements};
  QG_TRY(qg_mem_alloc(mem, QG_OWNER_WORKSPACE, what, bytes, (void **)&out->device));
  out->host = out->device;
  if (be->ops->unified_memory) return QG_OK;
  return qg_mem_alloc_host(mem, QG_OWNER_WORKSPACE, what, bytes, (void **)&out->host);
}

qg_status qg_weights_take_staging(const qg_weights *weights, qg_mem *mem, qg_weight_staging *out)
{
  return qg_weight_staging_take(mem, weights->be, qg_weights_staging_elements(weights), out);
}

/* Elements [first, first + count) of the flat weight from the staging, rounded to nearest; first at a group.
 */
static qg_status store_staged(const qg_weights *weights, const qg_weight *w, const qg_weight_staging *staging,
                              int64_t first, int64_t count)
{
  qg_backend *be = weights->be;
  if (staging->host != staging->device)
    QG_TRY(be->ops->copy_in(be, staging->device, staging->host, qg_dtype_bytes(QG_F32, count)));
  if (w->format == QG_WEIGHT_INT8) {
    qg_int8_rule nearest = {.include_zero = weights->options.include_zero};
    return be->ops->quantize_int8(be, staging->device, count, nearest, qg_weight_codes_from(w->codes, first));
  }
  qg_view all = qg_view_make(w->values, qg_weight_type(w), 1, qg_param_elements(&w->param));
  return be->ops->convert(be, qg_view_cols(all, first, count),
                          qg_view_make(staging->device, QG_F32, 1, count));
}

/* How many elements pass through the staging at once: whole groups, or all of the largest parameter. */
static int64_t staged_elements(const qg_weights *weights, const qg_weight_staging *staging)
{
  return qg_min_i64(weights->be->update_elements, staging->elements);
}

static qg_status initialise_one(const qg_weights *weights, const qg_weight *w,
                                const qg_weight_staging *staging)
{
  const qg_rng rng = {weights->options.seed, 0, (uint32_t)w->param.id, QG_RNG_INIT};
  int64_t total = qg_param_elements(&w->param), step = staged_elements(weights, staging);
  qg_backend_name(weights->be, w->param.name);
  for (int64_t first = 0; first < total; first += step) {
    int64_t count = qg_min_i64(step, total - first);
    QG_TRY(weights->be->ops->sync(weights->be)); /* the previous elements have been read */
    if (qg_param_is_vector(&w->param))
      for (int64_t i = 0; i < count; i++) staging->host[i] = 1.0f;
    else
      qg_normal_fill(rng, INIT_DEVIATION, first, count, weights->be->threads, staging->host);
    QG_TRY(store_staged(weights, w, staging, first, count));
  }
  return QG_OK;
}

qg_status qg_weights_initialise(qg_weights *weights, const qg_weight_staging *staging)
{
  QG_TRY(qg_weights_drop_prefetched(weights));
  for (int i = 0; i < weights->count; i++)
    if (weights->weights[i].param.held) QG_TRY(initialise_one(weights, &weights->weights[i], staging));
  return qg_weights_changed(weights);
}

/* Elements [first, first + count) of the flat weight as fp32 on the host; first at a group. Waits. */
static qg_status fetch_staged(const qg_weights *weights, const qg_weight *w, const qg_weight_staging *staging,
                              int64_t first, int64_t count)
{
  qg_backend *be = weights->be;
  qg_view device = qg_view_make(staging->device, QG_F32, 1, count);
  qg_view all = qg_view_make(w->values, qg_weight_type(w), 1, qg_param_elements(&w->param));
  if (w->format == QG_WEIGHT_INT8)
    QG_TRY(be->ops->dequantize_int8(be, qg_weight_codes_from(w->codes, first), device));
  else
    QG_TRY(be->ops->convert(be, device, qg_view_cols(all, first, count)));
  if (staging->host == staging->device) return be->ops->sync(be);
  return be->ops->copy_out(be, staging->host, staging->device, qg_dtype_bytes(QG_F32, count));
}

/* A run of elements that ends with a group, or with the weight. */
typedef struct {
  int64_t first, count;   /* of the weight, from the beginning of a group */
  int64_t offset, wanted; /* of these, the elements that are asked for */
} staged_run;

static staged_run run_at(const qg_weights *weights, const qg_weight *w, const qg_weight_staging *staging,
                         int64_t element, int64_t end)
{
  int64_t first = element / QG_GROUP * QG_GROUP, total = qg_param_elements(&w->param);
  int64_t last = qg_min_i64(end, first + staged_elements(weights, staging));
  int64_t whole = qg_min_i64(qg_ceil_div(last, QG_GROUP) * QG_GROUP, total);
  return (staged_run){first, whole - first, element - first, last - element};
}

static qg_status check_rows(const qg_weights *weights, const qg_weight *w, const qg_weight_staging *staging,
                            int64_t first, int64_t count)
{
  QG_CHECK(first >= 0 && count >= 0 && first + count <= w->param.rows, QG_ERR_RUNTIME,
           "rows %lld to %lld of %s, which has %lld", (long long)first, (long long)(first + count),
           w->param.name, (long long)w->param.rows);
  QG_CHECK(staged_elements(weights, staging) >= qg_min_i64(QG_GROUP, qg_param_elements(&w->param)),
           QG_ERR_RUNTIME, "staging of %lld elements for %s", (long long)staging->elements, w->param.name);
  return QG_OK;
}

qg_status qg_weights_get_rows(qg_weights *weights, const qg_weight_staging *staging, int param, int64_t first,
                              int64_t count, float *out)
{
  qg_weight *w;
  QG_TRY(qg_weights_find(weights, param, &w));
  QG_TRY(check_rows(weights, w, staging, first, count));
  int64_t begin = first * w->param.cols, end = (first + count) * w->param.cols;
  for (int64_t element = begin; element < end;) {
    staged_run run = run_at(weights, w, staging, element, end);
    QG_TRY(fetch_staged(weights, w, staging, run.first, run.count));
    memcpy(out + (element - begin), staging->host + run.offset, qg_dtype_bytes(QG_F32, run.wanted));
    element += run.wanted;
  }
  return QG_OK;
}

qg_status qg_weights_set_rows(qg_weights *weights, const qg_weight_staging *staging, int param, int64_t first,
                              int64_t count, const float *values)
{
  qg_weight *w;
  QG_TRY(qg_weights_find(weights, param, &w));
  QG_TRY(check_rows(weights, w, staging, first, count));
  QG_TRY(qg_weights_begin_update(weights, param));
  int64_t begin = first * w->param.cols, end = (first + count) * w->param.cols;
  for (int64_t element = begin; element < end;) {
    staged_run run = run_at(weights, w, staging, element, end);
    if (run.wanted < run.count) QG_TRY(fetch_staged(weights, w, staging, run.first, run.count));
    QG_TRY(weights->be->ops->sync(weights->be)); /* the previous elements have been read */
    memcpy(staging->host + run.offset, values + (element - begin), qg_dtype_bytes(QG_F32, run.wanted));
    QG_TRY(store_staged(weights, w, staging, run.first, run.count));
    element += run.wanted;
  }
  return QG_OK;
}
