/* The run's small state, as attributes of the root group with a checksum of their own. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ckpt/ckpt_private.h"
#include "qgalore/base.h"

enum { MAX_TEXT = 16 << 20 };

static qg_status write_attribute(hid_t file, const char *path, const char *name, hid_t file_type, hid_t memory_type,
                                 const void *value)
{
  hid_t space = H5Screate(H5S_SCALAR), attribute = -1;
  qg_status status;
  QG_H5_OUT(path, space);
  QG_H5_OUT(path, attribute = H5Acreate2(file, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT));
  QG_H5_OUT(path, H5Awrite(attribute, memory_type, value));
out:
  if (attribute >= 0) H5Aclose(attribute);
  if (space >= 0) H5Sclose(space);
  return status;
}

static qg_status write_text(hid_t file, const char *path, const char *name, const char *text)
{
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, strlen(text) + 1);
  qg_status status = write_attribute(file, path, name, type, type, text);
  H5Tclose(type);
  return status;
}

/* The input file can be longer than an attribute may be (64 KiB), so it is a dataset of bytes. */
static qg_status write_long_text(hid_t file, const char *path, const char *name, const char *text)
{
  hsize_t bytes = strlen(text) + 1;
  hid_t space = H5Screate_simple(1, &bytes, NULL), data = -1;
  qg_status status;
  QG_H5_OUT(path, space);
  QG_H5_OUT(path, data = H5Dcreate2(file, name, H5T_STD_U8LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  QG_H5_OUT(path, H5Dwrite(data, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, text));
out:
  if (data >= 0) H5Dclose(data);
  if (space >= 0) H5Sclose(space);
  return status;
}

static uint32_t meta_crc(const qg_ckpt_meta *m, const char *resolved)
{
  uint32_t crc = 0;
  crc = qg_crc32c(crc, &m->step, sizeof m->step);
  crc = qg_crc32c(crc, &m->tokens, sizeof m->tokens);
  crc = qg_crc32c(crc, &m->cursor, sizeof m->cursor);
  crc = qg_crc32c(crc, &m->seed, sizeof m->seed);
  crc = qg_crc32c(crc, &m->elapsed, sizeof m->elapsed);
  crc = qg_crc32c(crc, &m->last_loss, sizeof m->last_loss);
  crc = qg_crc32c(crc, &m->last_grad_norm, sizeof m->last_grad_norm);
  return qg_crc32c(crc, resolved, strlen(resolved));
}

static qg_status write_numbers(hid_t file, const char *path, const qg_ckpt_meta *m)
{
  uint32_t crc = meta_crc(m, m->resolved_input);
  QG_TRY(write_attribute(file, path, "step", H5T_STD_I64LE, H5T_NATIVE_INT64, &m->step));
  QG_TRY(write_attribute(file, path, "tokens", H5T_STD_I64LE, H5T_NATIVE_INT64, &m->tokens));
  QG_TRY(write_attribute(file, path, "cursor_sequences", H5T_STD_I64LE, H5T_NATIVE_INT64, &m->cursor));
  QG_TRY(write_attribute(file, path, "seed", H5T_STD_U64LE, H5T_NATIVE_UINT64, &m->seed));
  QG_TRY(write_attribute(file, path, "elapsed_seconds", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &m->elapsed));
  QG_TRY(write_attribute(file, path, "last_loss", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &m->last_loss));
  QG_TRY(write_attribute(file, path, "last_grad_norm", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &m->last_grad_norm));
  return write_attribute(file, path, "meta_crc32c", H5T_STD_U32LE, H5T_NATIVE_UINT32, &crc);
}

qg_status qg_ckpt_write_meta(hid_t file, const char *path, const qg_ckpt_meta *meta)
{
  QG_TRY(write_text(file, path, "format", QG_CKPT_FORMAT));
  QG_TRY(write_text(file, path, "format_version", QG_CKPT_VERSION));
  QG_TRY(write_text(file, path, "software", "qgalore_hpc " QG_VERSION));
  QG_TRY(write_numbers(file, path, meta));
  return write_long_text(file, path, "resolved_input", meta->resolved_input);
}

qg_status qg_ckpt_mark_complete(hid_t file, const char *path)
{
  const uint32_t yes = 1;
  return write_attribute(file, path, "complete", H5T_STD_U32LE, H5T_NATIVE_UINT32, &yes);
}

static qg_status read_attribute(hid_t file, const char *path, const char *name, hid_t memory_type, void *value)
{
  qg_status status;
  hid_t space = -1, attribute = H5Aopen(file, name, H5P_DEFAULT);
  QG_CHECK_OUT(attribute >= 0, QG_ERR_CHECKPOINT, "%s: the attribute \"%s\" is missing; not a whole checkpoint", path, name);
  QG_H5_OUT(path, space = H5Aget_space(attribute));
  QG_CHECK_OUT(H5Sget_simple_extent_npoints(space) == 1, QG_ERR_CHECKPOINT, "%s: the attribute \"%s\" is damaged", path, name);
  QG_H5_OUT(path, H5Aread(attribute, memory_type, value));
out:
  if (space >= 0) H5Sclose(space);
  if (attribute >= 0) H5Aclose(attribute);
  return status;
}

static qg_status check_text(hid_t file, const char *path, const char *name, const char *expected)
{
  char text[64] = "";
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, sizeof text);
  qg_status status = read_attribute(file, path, name, type, text);
  H5Tclose(type);
  QG_TRY(status);
  QG_CHECK(strcmp(text, expected) == 0, QG_ERR_CHECKPOINT, "%s: %s is \"%.40s\", this program reads \"%s\"", path, name,
           text, expected);
  return QG_OK;
}

static qg_status read_long_text(hid_t file, const char *path, const char *name, char **out)
{
  char *text = NULL;
  hid_t space = -1, data = H5Dopen2(file, name, H5P_DEFAULT);
  qg_status status;
  QG_CHECK_OUT(data >= 0, QG_ERR_CHECKPOINT, "%s: the dataset \"%s\" is missing", path, name);
  QG_H5_OUT(path, space = H5Dget_space(data));
  hssize_t bytes = H5Sget_simple_extent_npoints(space);
  QG_CHECK_OUT(bytes > 0 && bytes <= MAX_TEXT, QG_ERR_CHECKPOINT, "%s: the dataset \"%s\" has a wrong size", path, name);
  QG_TRY_OUT(qg_calloc((size_t)bytes + 1, 1, name, (void **)&text));
  QG_H5_OUT(path, H5Dread(data, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, text));
  *out = text;
  text = NULL;
out:
  free(text);
  if (space >= 0) H5Sclose(space);
  if (data >= 0) H5Dclose(data);
  return status;
}

static qg_status read_numbers(hid_t file, const char *path, qg_ckpt_meta *m)
{
  QG_TRY(read_attribute(file, path, "step", H5T_NATIVE_INT64, &m->step));
  QG_TRY(read_attribute(file, path, "tokens", H5T_NATIVE_INT64, &m->tokens));
  QG_TRY(read_attribute(file, path, "cursor_sequences", H5T_NATIVE_INT64, &m->cursor));
  QG_TRY(read_attribute(file, path, "seed", H5T_NATIVE_UINT64, &m->seed));
  QG_TRY(read_attribute(file, path, "elapsed_seconds", H5T_NATIVE_DOUBLE, &m->elapsed));
  QG_TRY(read_attribute(file, path, "last_loss", H5T_NATIVE_DOUBLE, &m->last_loss));
  return read_attribute(file, path, "last_grad_norm", H5T_NATIVE_DOUBLE, &m->last_grad_norm);
}

qg_status qg_ckpt_read_meta(hid_t file, const char *path, qg_ckpt_meta *meta, char **resolved)
{
  uint32_t complete = 0, crc = 0;
  QG_TRY(check_text(file, path, "format", QG_CKPT_FORMAT));
  QG_TRY(check_text(file, path, "format_version", QG_CKPT_VERSION));
  QG_TRY(read_attribute(file, path, "complete", H5T_NATIVE_UINT32, &complete));
  QG_CHECK(complete == 1, QG_ERR_CHECKPOINT, "%s: the checkpoint was never completed", path);
  QG_TRY(read_numbers(file, path, meta));
  QG_TRY(read_attribute(file, path, "meta_crc32c", H5T_NATIVE_UINT32, &crc));
  QG_TRY(read_long_text(file, path, "resolved_input", resolved));
  meta->resolved_input = *resolved;
  if (meta_crc(meta, *resolved) == crc) return QG_OK;
  free(*resolved);
  *resolved = NULL;
  return QG_FAIL(QG_ERR_CHECKPOINT, "%s: the attributes or \"resolved_input\" are damaged (checksum)", path);
}
