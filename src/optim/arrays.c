#include "optim/arrays.h"

#include "qgalore/weights.h"

qg_status qg_arrays_take(const qg_sink_array *arrays, int count, qg_mem *mem, qg_owner owner,
                         const char *name)
{
  for (int i = 0; i < count; i++)
    QG_TRY(
        qg_mem_alloc(mem, owner, name, qg_dtype_bytes(arrays[i].type, arrays[i].elements), arrays[i].data));
  return QG_OK;
}

void qg_arrays_release(const qg_sink_array *arrays, int count, qg_mem *mem, qg_owner owner)
{
  for (int i = 0; i < count; i++) {
    qg_mem_free(mem, owner, qg_dtype_bytes(arrays[i].type, arrays[i].elements), *arrays[i].data);
    *arrays[i].data = NULL;
  }
}

qg_status qg_arrays_clear(const qg_sink_array *arrays, int count, qg_backend *be)
{
  for (int i = 0; i < count; i++)
    QG_TRY(be->ops->zero(be, *arrays[i].data, qg_dtype_bytes(arrays[i].type, arrays[i].elements)));
  return QG_OK;
}

qg_status qg_arrays_list_state(const qg_sink_array *arrays, int count, const char *group,
                               const qg_param *param, qg_state_list *list)
{
  for (int i = 0; i < count; i++)
    QG_TRY(qg_param_append_state(param, group, arrays[i].field, arrays[i].type, arrays[i].elements,
                                 *arrays[i].data, true, list));
  return QG_OK;
}
