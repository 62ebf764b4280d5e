/* Life of the weights: their memory, and what a checkpoint sees of it. */
#include "qgalore/weights.h"

#include <stdlib.h>

#include "qgalore/base.h"
#include "weights/weights_private.h"

static qg_status take(qg_mem *mem, const char *name, size_t bytes, void *out)
{
  return qg_mem_alloc(mem, QG_OWNER_WEIGHTS, name, bytes, out);
}

static qg_status take_codes(qg_mem *mem, const char *name, int64_t elements, qg_int8_store *out)
{
  int64_t groups = qg_group_count(elements);
  QG_TRY(take(mem, name, (size_t)elements, (void **)&out->codes));
  QG_TRY(take(mem, name, qg_dtype_bytes(QG_F32, groups), (void **)&out->scale));
  return take(mem, name, (size_t)groups, (void **)&out->zero);
}

static qg_status take_weight(qg_mem *mem, const qg_backend *be, qg_weight *w)
{
  int64_t elements = qg_param_elements(&w->param);
  const char *name = w->param.name;
  if (!w->param.held) return QG_OK;
  if (w->format == QG_WEIGHT_INT8) return take_codes(mem, name, elements, &w->codes);
  QG_TRY(take(mem, name, qg_dtype_bytes(qg_weight_type(w), elements), &w->values));
  w->compute_values = w->values;
  if (!qg_param_is_vector(&w->param) || qg_weight_type(w) == be->compute) return QG_OK;
  return qg_mem_alloc(mem, QG_OWNER_WORKSPACE, name, qg_dtype_bytes(be->compute, elements),
                      &w->compute_values);
}

static qg_status check_format(const qg_param *param, qg_weight_format format)
{
  QG_CHECK(format != QG_WEIGHT_INT8 || !qg_param_is_vector(param), QG_ERR_RUNTIME,
           "%s is a vector and cannot be stored in INT8", param->name);
  return QG_OK;
}

qg_status qg_weights_create(qg_mem *mem, qg_backend *be, const qg_param_list *params,
                            const qg_weight_format *formats, const qg_weight_options *options,
                            qg_weights **out)
{
  qg_weights *weights = NULL;
  qg_status status;
  *out = NULL;
  QG_TRY(qg_calloc(1, sizeof *weights, "weights", (void **)&weights));
  *weights = (qg_weights){.be = be, .options = *options, .count = params->count, .prefetch = {.param = -1}};
  QG_TRY_OUT(
      qg_calloc((size_t)params->count, sizeof *weights->weights, "weights", (void **)&weights->weights));
  for (int i = 0; i < params->count; i++) {
    QG_TRY_OUT(check_format(&params->params[i], formats[i]));
    weights->weights[i] = (qg_weight){.param = params->params[i], .format = formats[i]};
    QG_TRY_OUT(take_weight(mem, be, &weights->weights[i]));
  }
  *out = weights;
out:
  if (status != QG_OK) qg_weights_destroy(weights);
  return status;
}

void qg_weights_destroy(qg_weights *weights)
{
  if (!weights) return;
  const qg_weight_prefetch *prefetch = &weights->prefetch;
  qg_backend_name(weights->be, NULL); /* names are the parameters' */
  if (prefetch->before) weights->be->ops->async->destroy_event(weights->be, prefetch->before);
  if (prefetch->done) weights->be->ops->async->destroy_event(weights->be, prefetch->done);
  free(weights->weights);
  free(weights);
}

qg_weight_format qg_weights_format(const qg_weights *weights, int param)
{
  return weights->weights[param].format;
}

qg_status qg_param_append_state(const qg_param *param, const char *group, const char *field, qg_dtype type,
                                int64_t elements, void *data, bool on_device, qg_state_list *list)
{
  qg_state_entry entry = {.type = type,
                          .items = param->layers,
                          .item = param->layer < 0 ? 0 : param->layer,
                          .elements = elements,
                          .data = param->held ? data : NULL,
                          .on_device = on_device,
                          .owner = param->owned};
  return qg_state_append(list, group, param->dataset, field, &entry);
}

static qg_status append(const qg_weight *w, const char *field, qg_dtype type, int64_t elements, void *data,
                        qg_state_list *list)
{
  return qg_param_append_state(&w->param, "weights", field, type, elements, data, true, list);
}

qg_status qg_weights_list_state(const qg_weights *weights, int param, qg_state_list *list)
{
  const qg_weight *w = &weights->weights[param];
  int64_t elements = qg_param_elements(&w->param), groups = qg_group_count(elements);
  if (w->format != QG_WEIGHT_INT8) return append(w, "values", qg_weight_type(w), elements, w->values, list);
  QG_TRY(append(w, "codes", QG_U8, elements, w->codes.codes, list));
  QG_TRY(append(w, "scale", QG_F32, groups, w->codes.scale, list));
  return append(w, "zero", QG_U8, groups, w->codes.zero, list);
}
