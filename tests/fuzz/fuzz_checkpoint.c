/* Checkpoints of either layout, read to the last byte as a restart does before it loads one. The bytes are
 * mutated and HDF5's checksums of its structures made right again, so that what they guard is read as well.
 * HDF5 1.10 does not survive all of that, so all is read in the child process; its reports tell a crash of
 * our readers from one of HDF5. */
#include <stdlib.h>
#include <string.h>

#include "ckpt/reader.h"
#include "fuzz/fix_checksums.h"
#include "fuzz/reader.h"
#include "qgalore/base.h"
#include "qgalore/base/subprocess.h"

static qg_status read_whole(const void *path, void *result)
{
  qg_ckpt_file *file = NULL;
  (void)result;
  QG_TRY(qg_ckpt_file_open(path, &file));
  qg_status status = qg_ckpt_file_verify(file, 0, 1);
  qg_ckpt_file_close(file);
  return status;
}

static const char *write_fixed(const uint8_t *data, size_t size)
{
  uint8_t *fixed = malloc(size + 1);
  if (!fixed) return NULL;
  memcpy(fixed, data, size);
  qg_fuzz_fix_checksums(fixed, size);
  const char *path = qg_fuzz_file(fixed, size);
  free(fixed);
  return path;
}

qg_status qg_fuzz_read(const uint8_t *data, size_t size)
{
  bool answered;
  const char *path = write_fixed(data, size);
  QG_CHECK(path, QG_ERR_RESOURCE, "no temporary file");
  QG_TRY(qg_subprocess_run(read_whole, path, strlen(path) + 1, NULL, 0, &answered));
  QG_CHECK(answered, QG_ERR_CHECKPOINT, "HDF5 cannot cope with it");
  return QG_OK;
}
