/* Loading: each rank reads the items it holds, whatever partition wrote them. */
#include <stdlib.h>
#include <string.h>

#include "ckpt/reader.h"
#include "qgalore/base.h"

qg_status qg_ckpt_open(qg_par *par, const char *path, qg_ckpt_file **out)
{
  qg_ckpt_file *file = NULL;
  *out = NULL;
  QG_TRY(qg_par_agree(par, qg_par_is_root(qg_par_grid(par)) ? qg_ckpt_file_check_structure(path) : QG_OK));
  qg_status status = qg_par_agree(par, qg_ckpt_file_open(path, &file));
  if (status != QG_OK) {
    qg_ckpt_file_close(file);
    return status;
  }
  file->par = par;
  *out = file;
  return QG_OK;
}

const qg_ckpt_meta *qg_ckpt_get_meta(const qg_ckpt_file *file)
{
  return &file->header.meta;
}

void qg_ckpt_close(qg_ckpt_file *file)
{
  qg_ckpt_file_close(file);
}

static qg_status check_fit(const qg_ckpt_reader *r, const qg_ckpt_dataset *d)
{
  QG_CHECK(r->type == d->type && r->items == d->items && r->elements == d->elements, QG_ERR_CHECKPOINT,
           "%s: dataset \"%s\" is %s [%lld, %lld], but the input needs %s [%lld, %lld]: the checkpoint is of "
           "another model or method",
           r->file->path, d->name, qg_dtype_name(r->type), (long long)r->items, (long long)r->elements,
           qg_dtype_name(d->type), (long long)d->items, (long long)d->elements);
  return QG_OK;
}

/* Host memory is read into directly; damage ends the run, so half an item does no harm. */
static qg_status load_item(const qg_ckpt_reader *r, qg_backend *be, const qg_state_entry *entry,
                           void *staging)
{
  bool on_device = entry->on_device && !be->ops->unified_memory;
  qg_backend_name(be, entry->dataset);
  for (int64_t index = 0; index < r->blocks; index++) {
    qg_ckpt_block block = qg_ckpt_block_at(r->elements, r->element_bytes, r->file->header.block_bytes, index);
    char *to = (char *)entry->data + block.offset;
    QG_TRY(qg_ckpt_reader_read(r, entry->item, index, on_device ? staging : to, &block));
    if (on_device) QG_TRY(be->ops->copy_in(be, to, staging, block.bytes));
  }
  return QG_OK;
}

/* Every rank opens every dataset, so that all see the same misfits. */
static qg_status load_dataset(const qg_ckpt_file *f, qg_backend *be, const qg_ckpt_dataset *d,
                              const qg_state_entry *entries, int count, void *staging)
{
  qg_ckpt_reader reader;
  qg_status status = QG_OK;
  QG_TRY(qg_ckpt_reader_open(f, d->name, &reader));
  QG_TRY_OUT(check_fit(&reader, d));
  for (int i = 0; i < count; i++)
    if (entries[i].data && strcmp(entries[i].dataset, d->name) == 0)
      QG_TRY_OUT(load_item(&reader, be, &entries[i], staging));
out:
  qg_ckpt_reader_close(&reader);
  return status;
}

static qg_status load_local(const qg_ckpt_file *f, qg_backend *be, const qg_state_entry *entries, int count)
{
  qg_ckpt_layout layout = {0};
  void *staging = NULL;
  qg_status status = QG_OK;
  QG_TRY_OUT(qg_calloc(1, f->header.block_bytes, "the loading of a checkpoint", &staging));
  QG_TRY_OUT(qg_ckpt_layout_make(entries, count, &layout));
  for (int i = 0; i < layout.count; i++)
    QG_TRY_OUT(load_dataset(f, be, &layout.datasets[i], entries, count, staging));
  QG_TRY_OUT(be->ops->sync(be));
out:
  qg_ckpt_layout_free(&layout);
  free(staging);
  return status;
}

qg_status qg_ckpt_load(qg_ckpt_file *file, qg_backend *be, const qg_state_entry *entries, int count)
{
  return qg_par_agree(file->par, load_local(file, be, entries, count));
}
