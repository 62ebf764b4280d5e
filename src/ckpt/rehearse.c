/* HDF5 1.10 crashes on some damaged and hostile files, so a process of its own opens what comes from
 * elsewhere first. */
#include <string.h>

#include "ckpt/folder.h"
#include "ckpt/reader.h"
#include "qgalore/base.h"
#include "qgalore/subprocess.h"

static qg_status see_dataset(void *context, const qg_ckpt_reader *reader)
{
  (void)context;
  (void)reader;
  return QG_OK;
}

static qg_status read_structure(const void *path, void *result)
{
  qg_ckpt_file *file = NULL;
  (void)result;
  QG_TRY(qg_ckpt_file_open(path, &file));
  qg_status status = qg_ckpt_file_walk(file, see_dataset, NULL);
  qg_ckpt_file_close(file);
  return status;
}

qg_status qg_ckpt_file_rehearse(const char *path)
{
  size_t length = strlen(path);
  bool answered;
  QG_CHECK(length < QG_CKPT_PATH, QG_ERR_CHECKPOINT, "%.200s...: the path is too long", path);
  QG_TRY(qg_subprocess_run(read_structure, path, length + 1, NULL, 0, &answered));
  QG_CHECK(answered, QG_ERR_CHECKPOINT, "%s: HDF5 cannot cope with its structure, it is damaged", path);
  return QG_OK;
}

qg_status qg_ckpt_file_open_foreign(const char *path, qg_ckpt_file **out)
{
  *out = NULL;
  QG_TRY(qg_ckpt_file_rehearse(path));
  return qg_ckpt_file_open(path, out);
}
