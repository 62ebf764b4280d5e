/* Every byte against its checksum, the work split over ranks. */
#include <stdlib.h>
#include <string.h>

#include "ckpt/h5_check.h"
#include "ckpt/reader.h"
#include "qgalore/base.h"

typedef struct {
  qg_ckpt_file *file;
  int64_t part, parts, next; /* next: running number of the next slab */
  int64_t datasets;
  void *buffer;
  qg_status status;
} visit;

static qg_status verify_dataset(visit *v, const char *name)
{
  qg_ckpt_reader reader;
  qg_ckpt_slab slab;
  qg_status status = QG_OK;
  QG_TRY(qg_ckpt_reader_open(v->file, name, &reader));
  for (int64_t item = 0; item < reader.items; item++)
    for (int64_t index = 0; index < reader.slabs; index++)
      if (v->next++ % v->parts == v->part)
        QG_TRY_OUT(qg_ckpt_reader_slab(&reader, item, index, v->buffer, &slab));
out:
  qg_ckpt_reader_close(&reader);
  return status;
}

static bool holds_sums(const char *name)
{
  size_t length = strlen(name), suffix = strlen(QG_CKPT_CRC_SUFFIX);
  return length >= suffix && strcmp(name + length - suffix, QG_CKPT_CRC_SUFFIX) == 0;
}

static herr_t visit_object(hid_t root, const char *name, const H5O_info_t *info, void *context)
{
  visit *v = context;
  (void)root;
  if (info->type != H5O_TYPE_DATASET || holds_sums(name)) return 0;
  v->datasets++;
  v->status = verify_dataset(v, name);
  return v->status == QG_OK ? 0 : 1;
}

qg_status qg_ckpt_file_verify(qg_ckpt_file *file, int part, int parts)
{
  visit v = {.file = file, .part = part, .parts = parts};
  qg_status status = QG_OK;
  QG_TRY(qg_calloc(1, file->header.slab_bytes, "the verification of a checkpoint", &v.buffer));
  herr_t visited = H5Ovisit(file->file, H5_INDEX_NAME, H5_ITER_INC, visit_object, &v);
  QG_TRY_OUT(v.status);
  QG_H5_OUT(file->path, visited);
  QG_CHECK_OUT(v.datasets > 0, QG_ERR_CHECKPOINT, "%s: it holds no data", file->path);
out:
  free(v.buffer);
  return status;
}

qg_status qg_ckpt_verify(const char *path)
{
  qg_ckpt_file *file = NULL;
  QG_TRY(qg_ckpt_file_open(path, &file));
  qg_status status = qg_ckpt_file_verify(file, 0, 1);
  qg_ckpt_file_close(file);
  return status;
}
