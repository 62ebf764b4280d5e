#include "ckpt/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ckpt/finite.h"
#include "qgalore/base.h"
#include "qgalore/base/fault.h"

/* The open file, and host memory for one block or for what is read back. */
typedef struct {
  const qg_ckpt_writer *writer;
  int file;
  void *buffer;
} output;

static size_t chunk_bytes(size_t rest)
{
  return rest < QG_CKPT_CHUNK ? rest : QG_CKPT_CHUNK;
}

/* A write may stop short of its end, and says why only when it is asked to go on. */
static qg_status write_all(const output *o, const char *from, size_t bytes, int64_t offset)
{
  while (bytes > 0) {
    ssize_t written = pwrite(o->file, from, bytes, offset);
    if (written < 0 && errno == EINTR) continue;
    QG_CHECK(written > 0, QG_ERR_RESOURCE, "cannot write %s: %s", o->writer->path,
             written < 0 ? strerror(errno) : "nothing was written");
    from += written;
    offset += written;
    bytes -= (size_t)written;
  }
  return QG_OK;
}

static qg_status read_all(const output *o, char *to, size_t bytes, int64_t offset)
{
  while (bytes > 0) {
    ssize_t got = pread(o->file, to, bytes, offset);
    if (got < 0 && errno == EINTR) continue;
    QG_CHECK(got > 0, QG_ERR_RESOURCE, "cannot read %s back: %s", o->writer->path,
             got < 0 ? strerror(errno) : "it ends too early");
    to += got;
    offset += got;
    bytes -= (size_t)got;
  }
  return QG_OK;
}

/* Where an item lies in the file and among the checksums. */
static int64_t offset_of(const qg_ckpt_placement *placement, const qg_ckpt_local_item *item)
{
  return placement->item_offsets[placement->offsets[item->dataset].first_item + item->item];
}

static uint32_t *sums_of(const qg_ckpt_writer *w, const qg_ckpt_local_item *item)
{
  const qg_ckpt_dataset_offsets *offsets = &w->placement->offsets[item->dataset];
  return w->sums + offsets->first_sum + item->item * offsets->blocks;
}

static qg_ckpt_block block_of(const qg_ckpt_placement *placement, const qg_ckpt_local_item *item,
                              int64_t index)
{
  const qg_ckpt_dataset *d = &placement->layout.datasets[item->dataset];
  return qg_ckpt_block_at(d->elements, d->element_bytes, placement->block_bytes, index);
}

static qg_status write_block(const output *o, const char *from, size_t bytes, int64_t offset, uint32_t *crc)
{
  for (size_t done = 0, chunk; done < bytes; done += chunk) {
    chunk = chunk_bytes(bytes - done);
    *crc = qg_crc32c(*crc, from + done, chunk);
    QG_TRY(write_all(o, from + done, chunk, offset + (int64_t)done));
    /* Only a hint, so that the disk begins while the next bytes are summed up: its result does not matter. */
    (void)sync_file_range(o->file, offset + (int64_t)done, (int64_t)chunk, SYNC_FILE_RANGE_WRITE);
  }
  return QG_OK;
}

static qg_status check_finite(const output *o, const qg_ckpt_local_item *item, const char *from, size_t bytes)
{
  const qg_ckpt_dataset *d = &o->writer->placement->layout.datasets[item->dataset];
  QG_CHECK(qg_ckpt_is_finite(d->type, from, bytes), QG_ERR_NUMERICAL,
           "dataset \"%s\", item %lld holds numbers that are not finite: it is not saved", d->name,
           (long long)item->item);
  return QG_OK;
}

static qg_status write_item(const output *o, const qg_ckpt_local_item *item)
{
  const qg_ckpt_placement *placement = o->writer->placement;
  for (int64_t index = 0; index < placement->offsets[item->dataset].blocks; index++) {
    qg_ckpt_block block = block_of(placement, item, index);
    const char *from = (const char *)item->data + block.offset;
    if (item->on_device) {
      QG_TRY(o->writer->be->ops->copy_out(o->writer->be, o->buffer, from, block.bytes));
      from = o->buffer;
    }
    QG_TRY(check_finite(o, item, from, block.bytes));
    QG_TRY(write_block(o, from, block.bytes, offset_of(placement, item) + (int64_t)block.offset,
                       &sums_of(o->writer, item)[index]));
  }
  return QG_OK;
}

static qg_status reread_block(const output *o, int64_t offset, size_t bytes, uint32_t *crc)
{
  for (size_t done = 0, chunk; done < bytes; done += chunk) {
    chunk = chunk_bytes(bytes - done);
    QG_TRY(read_all(o, o->buffer, chunk, offset + (int64_t)done));
    *crc = qg_crc32c(*crc, o->buffer, chunk);
  }
  return QG_OK;
}

static qg_status reread_item(const output *o, const qg_ckpt_local_item *item)
{
  const qg_ckpt_placement *placement = o->writer->placement;
  for (int64_t index = 0; index < placement->offsets[item->dataset].blocks; index++) {
    qg_ckpt_block block = block_of(placement, item, index);
    uint32_t crc = 0;
    QG_TRY(reread_block(o, offset_of(placement, item) + (int64_t)block.offset, block.bytes, &crc));
    QG_CHECK(crc == sums_of(o->writer, item)[index], QG_ERR_CHECKPOINT,
             "%s: dataset \"%s\", item %lld does not read back as it was written", o->writer->path,
             placement->layout.datasets[item->dataset].name, (long long)item->item);
  }
  return QG_OK;
}

static qg_status write_items(const output *o)
{
  const qg_ckpt_writer *w = o->writer;
  for (int64_t i = 0; i < w->local->count; i++) {
    QG_TRY(write_item(o, &w->local->items[i]));
    if (i + 1 == w->local->count || w->local->items[i + 1].dataset != w->local->items[i].dataset)
      qg_fault("checkpoint.data");
  }
  return QG_OK;
}

static qg_status reread_items(const output *o)
{
  for (int64_t i = 0; i < o->writer->local->count; i++) QG_TRY(reread_item(o, &o->writer->local->items[i]));
  qg_fault("checkpoint.reread");
  return QG_OK;
}

/* The data are not read again soon, and deleting them later is quick if the page cache does not hold them.
 * What HDF5 has written between them stays in it, for the check that follows. */
static void drop_from_cache(const output *o)
{
  const qg_ckpt_placement *placement = o->writer->placement;
  for (int64_t i = 0; i < o->writer->local->count; i++) {
    const qg_ckpt_local_item *item = &o->writer->local->items[i];
    off_t bytes = (off_t)qg_ckpt_item_bytes(&placement->layout.datasets[item->dataset]);
    posix_fadvise(o->file, offset_of(placement, item), bytes, POSIX_FADV_DONTNEED);
  }
}

static qg_status sync_items(const output *o)
{
  QG_CHECK(fsync(o->file) == 0, QG_ERR_RESOURCE, "cannot write %s to disk: %s", o->writer->path,
           strerror(errno));
  drop_from_cache(o);
  qg_fault("checkpoint.synced");
  return QG_OK;
}

static size_t buffer_bytes(const qg_ckpt_writer *w)
{
  size_t bytes = QG_CKPT_CHUNK;
  for (int64_t i = 0; i < w->local->count; i++) {
    size_t block = block_of(w->placement, &w->local->items[i], 0).bytes;
    if (w->local->items[i].on_device && block > bytes) bytes = block;
  }
  return bytes;
}

qg_status qg_ckpt_write(const qg_ckpt_writer *w)
{
  output o = {.writer = w, .file = open(w->path, O_RDWR | O_CLOEXEC)};
  qg_status status = QG_OK;
  QG_CHECK(o.file >= 0, QG_ERR_RESOURCE, "cannot open %s: %s", w->path, strerror(errno));
  QG_TRY_OUT(qg_calloc(1, buffer_bytes(w), "the writing of a checkpoint", &o.buffer));
  QG_TRY_OUT(write_items(&o));
  QG_TRY_OUT(reread_items(&o));
  QG_TRY_OUT(sync_items(&o));
out:
  free(o.buffer);
  close(o.file);
  return status;
}
