/* All datasets of a checkpoint, one after the other. */
#include <string.h>

#include "ckpt/h5_check.h"
#include "ckpt/reader.h"

typedef struct {
  const qg_ckpt_file *file;
  qg_ckpt_visitor visitor;
  void *context;
  qg_status status;
  int64_t datasets;
} walk;

static bool holds_sums(const char *name)
{
  size_t length = strlen(name), suffix = strlen(QG_CKPT_CRC_SUFFIX);
  return length >= suffix && strcmp(name + length - suffix, QG_CKPT_CRC_SUFFIX) == 0;
}

static qg_status visit_dataset(const walk *w, const char *name)
{
  qg_ckpt_reader reader;
  QG_TRY(qg_ckpt_reader_open(w->file, name, &reader));
  qg_status status = w->visitor(w->context, &reader);
  qg_ckpt_reader_close(&reader);
  return status;
}

static herr_t visit_object(hid_t root, const char *name, const H5O_info_t *info, void *context)
{
  walk *w = context;
  (void)root;
  if (info->type != H5O_TYPE_DATASET || holds_sums(name)) return 0;
  w->datasets++;
  w->status = visit_dataset(w, name);
  return w->status == QG_OK ? 0 : 1;
}

qg_status qg_ckpt_file_walk(const qg_ckpt_file *file, qg_ckpt_visitor visitor, void *context)
{
  walk w = {.file = file, .visitor = visitor, .context = context};
  herr_t visited = H5Ovisit(file->file, H5_INDEX_NAME, H5_ITER_INC, visit_object, &w);
  QG_TRY(w.status);
  QG_H5(file->path, visited);
  QG_CHECK(w.datasets > 0, QG_ERR_CHECKPOINT, "%s: it holds no data", file->path);
  return QG_OK;
}
