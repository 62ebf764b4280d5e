/* Whether a checkpoint can be trusted: its structure, and every byte against its checksum. */
#include <stdlib.h>
#include <string.h>

#include "ckpt/names.h"
#include "ckpt/reader.h"
#include "qgalore/base.h"
#include "qgalore/base/subprocess.h"
#include "qgalore/ckpt.h"

/* --- the structure, which HDF5 reads --- */

static qg_status ignore_dataset(void *context, const qg_ckpt_reader *reader)
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
  qg_status status = qg_ckpt_for_each_dataset(file, ignore_dataset, NULL);
  qg_ckpt_file_close(file);
  return status;
}

/* HDF5 1.10 crashes on some damaged and hostile files. */
qg_status qg_ckpt_file_check_structure(const char *path)
{
  size_t length = strlen(path);
  bool answered;
  QG_CHECK(length < QG_CKPT_PATH, QG_ERR_CHECKPOINT, "%.200s...: the path is too long", path);
  QG_TRY(qg_subprocess_run(read_structure, path, length + 1, NULL, 0, &answered));
  QG_CHECK(answered, QG_ERR_CHECKPOINT, "%s: HDF5 cannot cope with its structure, it is damaged", path);
  return QG_OK;
}

qg_status qg_ckpt_file_open_untrusted(const char *path, qg_ckpt_file **out)
{
  *out = NULL;
  QG_TRY(qg_ckpt_file_check_structure(path));
  return qg_ckpt_file_open(path, out);
}

/* --- the data --- */

typedef struct {
  int64_t rank, ranks, next; /* next: running number of the next block */
  void *buffer;              /* one chunk */
} share;

static qg_status verify_dataset(void *context, const qg_ckpt_reader *reader)
{
  share *s = context;
  for (int64_t item = 0; item < reader->items; item++)
    for (int64_t index = 0; index < reader->blocks; index++)
      if (s->next++ % s->ranks == s->rank) QG_TRY(qg_ckpt_reader_check(reader, item, index, s->buffer));
  return QG_OK;
}

qg_status qg_ckpt_file_verify(const qg_ckpt_file *file, int rank, int ranks)
{
  share s = {.rank = rank, .ranks = ranks};
  QG_TRY(qg_calloc(1, QG_CKPT_CHUNK, "the verification of a checkpoint", &s.buffer));
  qg_status status = qg_ckpt_for_each_dataset(file, verify_dataset, &s);
  free(s.buffer);
  return status;
}

qg_status qg_ckpt_verify(const char *path)
{
  qg_ckpt_file *file = NULL;
  QG_TRY(qg_ckpt_file_open_untrusted(path, &file));
  qg_status status = qg_ckpt_file_verify(file, 0, 1);
  qg_ckpt_file_close(file);
  return status;
}
