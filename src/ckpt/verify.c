/* Every byte against its checksum, the work split over ranks. */
#include <stdlib.h>

#include "ckpt/reader.h"
#include "qgalore/base.h"

typedef struct {
  int64_t part, parts, next; /* next: running number of the next slab */
  void *buffer;              /* one stride */
} share;

static qg_status verify_dataset(void *context, const qg_ckpt_reader *reader)
{
  share *s = context;
  for (int64_t item = 0; item < reader->items; item++)
    for (int64_t index = 0; index < reader->slabs; index++)
      if (s->next++ % s->parts == s->part) QG_TRY(qg_ckpt_reader_check(reader, item, index, s->buffer));
  return QG_OK;
}

qg_status qg_ckpt_file_verify(const qg_ckpt_file *file, int part, int parts)
{
  share s = {.part = part, .parts = parts};
  QG_TRY(qg_calloc(1, QG_CKPT_STRIDE, "the verification of a checkpoint", &s.buffer));
  qg_status status = qg_ckpt_file_walk(file, verify_dataset, &s);
  free(s.buffer);
  return status;
}

qg_status qg_ckpt_verify(const char *path)
{
  qg_ckpt_file *file = NULL;
  QG_TRY(qg_ckpt_file_open_foreign(path, &file));
  qg_status status = qg_ckpt_file_verify(file, 0, 1);
  qg_ckpt_file_close(file);
  return status;
}
