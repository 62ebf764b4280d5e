#include "ckpt/attributes.h"

#include <stdlib.h>
#include <string.h>

#include "ckpt/h5_check.h"
#include "qgalore/base.h"

qg_status qg_ckpt_attribute_write_number(hid_t object, const char *path, const char *name, hid_t type,
                                         const void *value)
{
  qg_status status = QG_OK;
  hid_t space = -1, attribute = -1;
  QG_H5_OUT(path, space = H5Screate(H5S_SCALAR));
  QG_H5_OUT(path, attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT));
  QG_H5_OUT(path, H5Awrite(attribute, type, value));
out:
  qg_h5_release(attribute);
  qg_h5_release(space);
  return status;
}

qg_status qg_ckpt_attribute_write_text(hid_t object, const char *path, const char *name, const char *text)
{
  qg_status status = QG_OK;
  hid_t type = -1;
  QG_H5_OUT(path, type = H5Tcopy(H5T_C_S1));
  QG_H5_OUT(path, H5Tset_size(type, strlen(text) + 1));
  QG_TRY_OUT(qg_ckpt_attribute_write_number(object, path, name, type, text));
out:
  qg_h5_release(type);
  return status;
}

/* Opens a scalar attribute and gives its type. */
static qg_status open_scalar(hid_t object, const char *path, const char *name, hid_t *attribute, hid_t *type)
{
  qg_status status = QG_OK;
  hid_t space = -1;
  *attribute = *type = -1;
  QG_CHECK_OUT(H5Aexists(object, name) > 0, QG_ERR_CHECKPOINT, "%s: the attribute \"%s\" is missing", path,
               name);
  QG_H5_OUT(path, *attribute = H5Aopen(object, name, H5P_DEFAULT));
  QG_H5_OUT(path, space = H5Aget_space(*attribute));
  QG_H5_OUT(path, *type = H5Aget_type(*attribute));
  QG_CHECK_OUT(H5Sget_simple_extent_type(space) == H5S_SCALAR, QG_ERR_CHECKPOINT,
               "%s: the attribute \"%s\" is not a single value", path, name);
out:
  qg_h5_release(space);
  return status;
}

qg_status qg_ckpt_attribute_read_number(hid_t object, const char *path, const char *name, hid_t type,
                                        void *value)
{
  hid_t attribute, stored;
  qg_status status = QG_OK;
  QG_TRY_OUT(open_scalar(object, path, name, &attribute, &stored));
  QG_CHECK_OUT(H5Tequal(stored, type) > 0, QG_ERR_CHECKPOINT, "%s: the attribute \"%s\" has another type",
               path, name);
  QG_H5_OUT(path, H5Aread(attribute, type, value));
out:
  qg_h5_release(stored);
  qg_h5_release(attribute);
  return status;
}

qg_status qg_ckpt_attribute_read_text(hid_t object, const char *path, const char *name, size_t most,
                                      char **out)
{
  hid_t attribute, stored;
  qg_status status = QG_OK;
  void *text = NULL;
  QG_TRY_OUT(open_scalar(object, path, name, &attribute, &stored));
  size_t bytes = H5Tget_size(stored);
  QG_CHECK_OUT(H5Tget_class(stored) == H5T_STRING && H5Tis_variable_str(stored) == 0 && bytes <= most,
               QG_ERR_CHECKPOINT, "%s: the attribute \"%s\" is not a text of at most %zu bytes", path, name,
               most);
  QG_TRY_OUT(qg_calloc(bytes + 1, 1, name, &text));
  QG_H5_OUT(path, H5Aread(attribute, stored, text));
  *out = text;
  text = NULL;
out:
  free(text);
  qg_h5_release(stored);
  qg_h5_release(attribute);
  return status;
}
