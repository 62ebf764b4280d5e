/* Checkpoints of either layout, read to the last byte as a restart does before it loads one. The bytes are
 * mutated and HDF5's checksums of its structures made right again, so that what they guard is read as well.
 * HDF5 1.10 does not survive all of that, so all is read in the child process; its reports tell a crash of
 * our readers from one of HDF5. */
#include <stdlib.h>
#include <string.h>

#include "ckpt/reader.h"
#include "fuzz/mend.h"
#include "fuzz/reader.h"
#include "qgalore/base.h"
#include "qgalore/subprocess.h"

static qg_status read_whole(const void *path, void *result)
{
  qg_ckpt_file *file = NULL;
  (void)result;
  QG_TRY(qg_ckpt_file_open(path, &file));
  qg_status status = qg_ckpt_file_verify(file, 0, 1);
  qg_ckpt_file_close(file);
  return status;
}

static const char *write_mended(const uint8_t *data, size_t size)
{
  uint8_t *mended = malloc(size + 1);
  if (!mended) return NULL;
  memcpy(mended, data, size);
  qg_fuzz_mend(mended, size);
  const char *path = qg_fuzz_file(mended, size);
  free(mended);
  return path;
}

qg_status qg_fuzz_read(const uint8_t *data, size_t size)
{
  bool answered;
  const char *path = write_mended(data, size);
  QG_CHECK(path, QG_ERR_RESOURCE, "no temporary file");
  QG_TRY(qg_subprocess_run(read_whole, path, strlen(path) + 1, NULL, 0, &answered));
  QG_CHECK(answered, QG_ERR_CHECKPOINT, "HDF5 cannot cope with it");
  return QG_OK;
}
