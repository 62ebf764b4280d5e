#include <stdlib.h>
#include <string.h>

#include "ckpt/ckpt_private.h"
#include "qgalore/base.h"

static const int64_t slab_bytes = (int64_t)256 << 20;

static int64_t stored_elements(const qg_state_entry *entry)
{
  return entry->type == QG_U4 ? (int64_t)qg_dtype_bytes(QG_U4, entry->elements) : entry->elements;
}

static bool is_listed(const qg_ckpt_dataset *list, int count, const char *name)
{
  for (int i = count - 1; i >= 0; i--)
    if (strcmp(list[i].name, name) == 0) return true;
  return false;
}

qg_status qg_ckpt_datasets(const qg_state_entry *entries, int count, qg_ckpt_dataset **out, int *datasets)
{
  qg_ckpt_dataset *list;
  int found = 0;
  QG_TRY(qg_calloc((size_t)count + 1, sizeof *list, "checkpoint layout", (void **)&list));
  for (int i = 0; i < count; i++)
    if (!is_listed(list, found, entries[i].dataset))
      list[found++] = (qg_ckpt_dataset){entries[i].dataset, entries[i].type, entries[i].items,
                                        stored_elements(&entries[i]), i};
  *out = list;
  *datasets = found;
  return QG_OK;
}

hid_t qg_ckpt_file_type(qg_dtype type)
{
  switch (type) {
    case QG_F32: return H5T_IEEE_F32LE;
    case QG_F64: return H5T_IEEE_F64LE;
    case QG_BF16: return H5T_STD_U16LE;
    case QG_I32: return H5T_STD_I32LE;
    case QG_U32: return H5T_STD_U32LE;
    case QG_I64: return H5T_STD_I64LE;
    case QG_U64: return H5T_STD_U64LE;
    default: return H5T_STD_U8LE;
  }
}

hid_t qg_ckpt_memory_type(qg_dtype type)
{
  switch (type) {
    case QG_F32: return H5T_NATIVE_FLOAT;
    case QG_F64: return H5T_NATIVE_DOUBLE;
    case QG_BF16: return H5T_NATIVE_UINT16;
    case QG_I32: return H5T_NATIVE_INT32;
    case QG_U32: return H5T_NATIVE_UINT32;
    case QG_I64: return H5T_NATIVE_INT64;
    case QG_U64: return H5T_NATIVE_UINT64;
    default: return H5T_NATIVE_UINT8;
  }
}

size_t qg_ckpt_element_bytes(qg_dtype type) { return type == QG_U4 ? 1 : qg_dtype_bytes(type, 1); }

int64_t qg_ckpt_slab_elements(size_t element_bytes, int64_t elements)
{
  return qg_max_i64(1, qg_min_i64(elements, slab_bytes / (int64_t)element_bytes));
}

int64_t qg_ckpt_bytes(const qg_state_entry *entries, int count)
{
  int64_t bytes = 0;
  for (int i = 0; i < count; i++)
    bytes += stored_elements(&entries[i]) * (int64_t)qg_ckpt_element_bytes(entries[i].type);
  return bytes;
}

void qg_ckpt_quiet(void) { H5Eset_auto2(H5E_DEFAULT, NULL, NULL); }

static herr_t innermost(unsigned n, const H5E_error2_t *error, void *text)
{
  if (n == 0 && error->desc) snprintf(text, 200, "%s", error->desc);
  return 0;
}

qg_status qg_ckpt_h5_status(int64_t result, const char *call, const char *path)
{
  if (result >= 0) return QG_OK;
  char text[200] = "unknown reason";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, text);
  return QG_FAIL(QG_ERR_CHECKPOINT, "%s: HDF5: %s (in %.40s)", path, text, call);
}
