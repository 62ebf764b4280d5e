#include "data/hdf5_attributes.h"

#include <stdbool.h>
#include <string.h>

static qg_status create_and_write(hid_t file, const char *path, const char *name, hid_t stored, hid_t given,
                                  const void *value)
{
  hid_t space = H5Screate(H5S_SCALAR);
  hid_t attribute = H5Acreate2(file, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
  bool written = attribute >= 0 && H5Awrite(attribute, given, value) >= 0;
  if (attribute >= 0) H5Aclose(attribute);
  if (space >= 0) H5Sclose(space);
  QG_CHECK(written, QG_ERR_RESOURCE, "%s: cannot write the attribute %s: is the disk full?", path, name);
  return QG_OK;
}

/* A text of `size` bytes; the file and the memory side must agree on the character set, or HDF5 does not
 * convert. */
static hid_t text_type(size_t size, H5T_cset_t characters)
{
  hid_t type = H5Tcopy(H5T_C_S1);
  if (type < 0) return type;
  H5Tset_size(type, size);
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  H5Tset_cset(type, characters);
  return type;
}

qg_status qg_attribute_write_text(hid_t file, const char *path, const char *name, const char *text)
{
  hid_t type = text_type(strlen(text) + 1, H5T_CSET_UTF8);
  qg_status status = create_and_write(file, path, name, type, type, text);
  if (type >= 0) H5Tclose(type);
  return status;
}

qg_status qg_attribute_write_i64(hid_t file, const char *path, const char *name, int64_t value)
{
  return create_and_write(file, path, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

/* An attribute that is open for reading, with its type; both < 0 if there is no such single value. */
typedef struct {
  hid_t id, type;
} attribute_handle;

static attribute_handle open_single(hid_t file, const char *name)
{
  attribute_handle handle = {-1, -1};
  if (H5Aexists(file, name) <= 0) return handle;
  handle.id = H5Aopen(file, name, H5P_DEFAULT);
  if (handle.id < 0) return handle;
  hid_t space = H5Aget_space(handle.id);
  if (space >= 0 && H5Sget_simple_extent_npoints(space) == 1) handle.type = H5Aget_type(handle.id);
  if (space >= 0) H5Sclose(space);
  return handle;
}

static void close_single(attribute_handle handle)
{
  if (handle.type >= 0) H5Tclose(handle.type);
  if (handle.id >= 0) H5Aclose(handle.id);
}

static bool read_fixed_text(attribute_handle handle, char *out, size_t size)
{
  if (handle.type < 0 || H5Tget_class(handle.type) != H5T_STRING) return false;
  if (H5Tis_variable_str(handle.type) != 0 || H5Tget_size(handle.type) > size) return false;
  hid_t type = text_type(size, H5Tget_cset(handle.type));
  bool done = type >= 0 && H5Aread(handle.id, type, out) >= 0;
  if (type >= 0) H5Tclose(type);
  return done && memchr(out, '\0', size) != NULL;
}

qg_status qg_attribute_read_text(hid_t file, const char *path, const char *name, char *out, size_t size)
{
  attribute_handle handle = open_single(file, name);
  memset(out, 0, size);
  bool done = read_fixed_text(handle, out, size);
  close_single(handle);
  QG_CHECK(
      done, QG_ERR_INPUT,
      "%s: the attribute %s is missing or not a fixed-length text of at most %zu bytes: write the file with "
      "qgalore_tok",
      path, name, size - 1);
  return QG_OK;
}

qg_status qg_attribute_read_i64(hid_t file, const char *path, const char *name, int64_t *out)
{
  attribute_handle handle = open_single(file, name);
  bool done = handle.type >= 0 && H5Tget_class(handle.type) == H5T_INTEGER &&
              H5Aread(handle.id, H5T_NATIVE_INT64, out) >= 0;
  close_single(handle);
  QG_CHECK(done, QG_ERR_INPUT,
           "%s: the attribute %s is missing or not one integer: write the file with qgalore_tok", path, name);
  return QG_OK;
}
