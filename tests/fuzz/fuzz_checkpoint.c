/* Checkpoints of either layout, read to the last byte as a restart does before it loads one. The bytes are
 * mutated and HDF5's checksums of its structures made right again, so that what they guard is read as well.
 */
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/mend.h"
#include "fuzz/reader.h"
#include "qgalore/base.h"
#include "qgalore/ckpt.h"

qg_status qg_fuzz_read(const uint8_t *data, size_t size)
{
  void *mended;
  QG_TRY(qg_calloc(size + 1, 1, "a file", &mended));
  memcpy(mended, data, size);
  qg_fuzz_mend(mended, size);
  const char *path = qg_fuzz_file(mended, size);
  free(mended);
  QG_CHECK(path, QG_ERR_RESOURCE, "no temporary file");
  qg_status status = qg_ckpt_verify(path);
  /* Hostile files make HDF5 leave things open. */
  if (H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ALL) > 0) H5close();
  return status;
}
