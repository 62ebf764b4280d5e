#include "ckpt/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qgalore/base.h"
#include "qgalore/base/fault.h"

/* A file of the writer, and host memory for one slab or for what is read back. */
typedef struct {
  const qg_ckpt_writer *writer;
  int file;
  void *buffer;
} channel;

static size_t stride(size_t rest)
{
  return rest < QG_CKPT_STRIDE ? rest : QG_CKPT_STRIDE;
}

/* A write may stop short of its end, and says why only when it is asked to go on. */
static qg_status write_all(const channel *c, const char *from, size_t bytes, int64_t offset)
{
  while (bytes > 0) {
    ssize_t written = pwrite(c->file, from, bytes, offset);
    if (written < 0 && errno == EINTR) continue;
    QG_CHECK(written > 0, QG_ERR_RESOURCE, "cannot write %s: %s", c->writer->path,
             written < 0 ? strerror(errno) : "nothing was written");
    from += written;
    offset += written;
    bytes -= (size_t)written;
  }
  return QG_OK;
}

static qg_status read_all(const channel *c, char *to, size_t bytes, int64_t offset)
{
  while (bytes > 0) {
    ssize_t got = pread(c->file, to, bytes, offset);
    if (got < 0 && errno == EINTR) continue;
    QG_CHECK(got > 0, QG_ERR_RESOURCE, "cannot read %s back: %s", c->writer->path,
             got < 0 ? strerror(errno) : "it ends too early");
    to += got;
    offset += got;
    bytes -= (size_t)got;
  }
  return QG_OK;
}

/* Where a piece lies in the file and among the checksums. */
static int64_t offset_of(const qg_ckpt_plan *plan, const qg_ckpt_piece *piece)
{
  return plan->offsets[plan->places[piece->dataset].first_item + piece->item];
}

static uint32_t *sums_of(const qg_ckpt_writer *w, const qg_ckpt_piece *piece)
{
  const qg_ckpt_place *place = &w->plan->places[piece->dataset];
  return w->sums + place->first_sum + piece->item * place->slabs;
}

static qg_ckpt_slab slab_of(const qg_ckpt_plan *plan, const qg_ckpt_piece *piece, int64_t index)
{
  const qg_ckpt_dataset *d = &plan->layout.datasets[piece->dataset];
  return qg_ckpt_slab_at(d->elements, d->element_bytes, plan->slab_bytes, index);
}

static qg_status write_slab(const channel *c, const char *from, size_t bytes, int64_t offset, uint32_t *crc)
{
  for (size_t done = 0, part; done < bytes; done += part) {
    part = stride(bytes - done);
    *crc = qg_crc32c(*crc, from + done, part);
    QG_TRY(write_all(c, from + done, part, offset + (int64_t)done));
    /* The disk begins at once, while the next bytes are summed up; whether it does is its affair. */
    (void)sync_file_range(c->file, offset + (int64_t)done, (int64_t)part, SYNC_FILE_RANGE_WRITE);
  }
  return QG_OK;
}

static qg_status write_piece(const channel *c, const qg_ckpt_piece *piece)
{
  const qg_ckpt_plan *plan = c->writer->plan;
  for (int64_t index = 0; index < plan->places[piece->dataset].slabs; index++) {
    qg_ckpt_slab slab = slab_of(plan, piece, index);
    const char *from = (const char *)piece->data + slab.offset;
    if (piece->on_device) {
      QG_TRY(c->writer->be->ops->copy_out(c->writer->be, c->buffer, from, slab.bytes));
      from = c->buffer;
    }
    QG_TRY(write_slab(c, from, slab.bytes, offset_of(plan, piece) + (int64_t)slab.offset,
                      &sums_of(c->writer, piece)[index]));
  }
  return QG_OK;
}

static qg_status reread_slab(const channel *c, int64_t offset, size_t bytes, uint32_t *crc)
{
  for (size_t done = 0, part; done < bytes; done += part) {
    part = stride(bytes - done);
    QG_TRY(read_all(c, c->buffer, part, offset + (int64_t)done));
    *crc = qg_crc32c(*crc, c->buffer, part);
  }
  return QG_OK;
}

static qg_status reread_piece(const channel *c, const qg_ckpt_piece *piece)
{
  const qg_ckpt_plan *plan = c->writer->plan;
  for (int64_t index = 0; index < plan->places[piece->dataset].slabs; index++) {
    qg_ckpt_slab slab = slab_of(plan, piece, index);
    uint32_t crc = 0;
    QG_TRY(reread_slab(c, offset_of(plan, piece) + (int64_t)slab.offset, slab.bytes, &crc));
    QG_CHECK(crc == sums_of(c->writer, piece)[index], QG_ERR_CHECKPOINT,
             "%s: dataset \"%s\", item %lld does not read back as it was written", c->writer->path,
             plan->layout.datasets[piece->dataset].name, (long long)piece->item);
  }
  return QG_OK;
}

static qg_status write_pieces(const channel *c)
{
  const qg_ckpt_writer *w = c->writer;
  for (int64_t i = 0; i < w->count; i++) {
    QG_TRY(write_piece(c, &w->pieces[i]));
    if (i + 1 == w->count || w->pieces[i + 1].dataset != w->pieces[i].dataset) qg_fault("checkpoint.data");
  }
  return QG_OK;
}

static qg_status reread_pieces(const channel *c)
{
  for (int64_t i = 0; i < c->writer->count; i++) QG_TRY(reread_piece(c, &c->writer->pieces[i]));
  qg_fault("checkpoint.reread");
  return QG_OK;
}

/* Nobody reads the data soon, and deleting them later is quick if no memory holds them. What HDF5 has written
 * between them stays: it is needed in a moment. */
static void forget_pieces(const channel *c)
{
  const qg_ckpt_plan *plan = c->writer->plan;
  for (int64_t i = 0; i < c->writer->count; i++) {
    const qg_ckpt_piece *piece = &c->writer->pieces[i];
    off_t bytes = (off_t)qg_ckpt_item_bytes(&plan->layout.datasets[piece->dataset]);
    posix_fadvise(c->file, offset_of(plan, piece), bytes, POSIX_FADV_DONTNEED);
  }
}

static qg_status sync_pieces(const channel *c)
{
  QG_CHECK(fsync(c->file) == 0, QG_ERR_RESOURCE, "cannot write %s to disk: %s", c->writer->path,
           strerror(errno));
  forget_pieces(c);
  qg_fault("checkpoint.synced");
  return QG_OK;
}

static size_t buffer_bytes(const qg_ckpt_writer *w)
{
  size_t bytes = QG_CKPT_STRIDE;
  for (int64_t i = 0; i < w->count; i++) {
    size_t slab = slab_of(w->plan, &w->pieces[i], 0).bytes;
    if (w->pieces[i].on_device && slab > bytes) bytes = slab;
  }
  return bytes;
}

qg_status qg_ckpt_write(const qg_ckpt_writer *w)
{
  channel c = {.writer = w, .file = open(w->path, O_RDWR | O_CLOEXEC)};
  qg_status status = QG_OK;
  QG_CHECK(c.file >= 0, QG_ERR_RESOURCE, "cannot open %s: %s", w->path, strerror(errno));
  QG_TRY_OUT(qg_calloc(1, buffer_bytes(w), "the writing of a checkpoint", &c.buffer));
  QG_TRY_OUT(write_pieces(&c));
  QG_TRY_OUT(reread_pieces(&c));
  QG_TRY_OUT(sync_pieces(&c));
out:
  free(c.buffer);
  close(c.file);
  return status;
}
