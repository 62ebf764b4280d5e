#include "optim/arrays.h"

#include "qgalore/weights.h"

static size_t bytes_of(const qg_sink_array *array)
{
  return qg_dtype_bytes(array->type, array->elements);
}

qg_status qg_arrays_take(const qg_sink_arrays *list, qg_mem *mem, qg_owner owner, const char *name)
{
  for (int i = 0; i < list->count; i++)
    QG_TRY(qg_mem_alloc(mem, owner, name, bytes_of(&list->arrays[i]), list->arrays[i].data));
  return QG_OK;
}

void qg_arrays_release(const qg_sink_arrays *list, qg_mem *mem, qg_owner owner)
{
  for (int i = 0; i < list->count; i++) {
    qg_mem_free(mem, owner, bytes_of(&list->arrays[i]), *list->arrays[i].data);
    *list->arrays[i].data = NULL;
  }
}

qg_status qg_arrays_clear(const qg_sink_arrays *list, qg_backend *be)
{
  for (int i = 0; i < list->count; i++)
    QG_TRY(be->ops->zero(be, *list->arrays[i].data, bytes_of(&list->arrays[i])));
  return QG_OK;
}

qg_status qg_arrays_list_state(const qg_sink_arrays *list, const char *group, const qg_param *param,
                               qg_state_list *state)
{
  for (int i = 0; i < list->count; i++) {
    const qg_sink_array *array = &list->arrays[i];
    QG_TRY(qg_param_append_state(param, group, array->field, array->type, array->elements, *array->data, true,
                                 state));
  }
  return QG_OK;
}
