/* Checkpoints of hostile structure with right checksums; the bytes are the recipe. */
#include <stdlib.h>
#include <string.h>

#include "ckpt/compare.h"
#include "ckpt/reader.h"
#include "fuzz/reader.h"
#include "fuzz/structure.h"
#include "qgalore/base.h"
#include "qgalore/ckpt.h"

static const char good[] = "tests/fuzz/corpus/checkpoint/good-few.h5";

static uint32_t add_attribute(hid_t file, const char *name, uint32_t crc)
{
  hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
  if (attribute < 0) return crc;
  hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
  size_t size = H5Tget_size(type);
  char *bytes = calloc(1, size + 1);
  bool plain = bytes && H5Sget_simple_extent_type(space) == H5S_SCALAR && H5Tis_variable_str(type) <= 0;
  if (plain && H5Aread(attribute, type, bytes) >= 0)
    crc = qg_crc32c(crc, bytes, H5Tget_class(type) == H5T_STRING ? strlen(bytes) + 1 : size);
  free(bytes);
  H5Sclose(space);
  H5Tclose(type);
  H5Aclose(attribute);
  return crc;
}

/* doc/formats.md: meta_crc32c. */
static void fix_header(hid_t file)
{
  static const char *const names[] = {
      "step",       "tokens",     "cursor",   "seed",    "elapsed",     "last_loss", "last_grad_norm",
      "probe_loss", "slab_bytes", "software", "created", "arrangement", "history",   "resolved_input"};
  uint32_t crc[4] = {0}; /* the recipe may have made an array of it */
  for (int i = 0; i < QG_COUNT_OF(names); i++) crc[0] = add_attribute(file, names[i], crc[0]);
  hid_t attribute = H5Aopen(file, "meta_crc32c", H5P_DEFAULT);
  if (attribute < 0) return;
  H5Awrite(attribute, H5T_NATIVE_UINT32, crc);
  H5Aclose(attribute);
}

static void ignore(void *context, const qg_ckpt_difference *difference)
{
  (void)context;
  (void)difference;
}

/* As a restart and `qgalore_ckpt diff` do. */
static qg_status read_whole(const char *path)
{
  qg_ckpt_file *a = NULL, *b = NULL;
  qg_status status;
  QG_TRY_OUT(qg_ckpt_verify(path));
  QG_TRY_OUT(qg_ckpt_file_open(path, &a));
  QG_TRY_OUT(qg_ckpt_file_open(good, &b));
  QG_TRY_OUT(qg_ckpt_compare(a, b, ignore, NULL));
  QG_TRY_OUT(qg_ckpt_compare(b, a, ignore, NULL));
out:
  qg_ckpt_file_close(b);
  qg_ckpt_file_close(a);
  return status;
}

qg_status qg_fuzz_read(const uint8_t *data, size_t size)
{
  const char *path = qg_fuzz_structure(good, data, size, fix_header);
  QG_CHECK(path, QG_ERR_RESOURCE, "no temporary file");
  return read_whole(path);
}
