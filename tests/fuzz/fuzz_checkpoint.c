/* Checkpoints, read to the last byte as a restart does before it loads one. */
#include "fuzz/reader.h"
#include "qgalore/ckpt.h"

qg_status qg_fuzz_read(const uint8_t *data, size_t size)
{
  const char *path = qg_fuzz_file(data, size);
  QG_CHECK(path, QG_ERR_RESOURCE, "no temporary file");
  return qg_ckpt_verify(path);
}
