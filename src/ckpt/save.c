/* Saving: the order of the phases is what makes half a file impossible to mistake for a whole one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ckpt/folder.h"
#include "ckpt/h5_check.h"
#include "ckpt/parts.h"
#include "ckpt/skeleton.h"
#include "ckpt/space.h"
#include "ckpt/work.h"
#include "qgalore/base.h"
#include "qgalore/fault.h"

struct qg_ckpt_pending {
  qg_par *par;
  qg_backend *be;
  qg_ckpt_options options;
  bool root, renamed;
  char path[QG_CKPT_PATH], temporary[QG_CKPT_PATH];
  char data[QG_CKPT_PATH]; /* where this rank writes */
  qg_ckpt_part part;       /* layout per_rank */
  qg_ckpt_header header;
  qg_ckpt_plan plan;
  qg_ckpt_piece *pieces;
  uint32_t *sums; /* [plan.sums] */
  qg_ckpt_work work;
};

static qg_status create_empty(const char *path)
{
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  QG_CHECK(file >= 0, QG_ERR_RESOURCE, "cannot create %s: %s", path, strerror(errno));
  close(file);
  return QG_OK;
}

static qg_status see_file(const char *path)
{
  QG_CHECK(access(path, R_OK | W_OK) == 0, QG_ERR_RESOURCE,
           "%s was made by rank 0 but cannot be used here (%s): the run folder must be on a file system that "
           "all nodes "
           "share",
           path, strerror(errno));
  return QG_OK;
}

/* What killed saves have left is in the way, and holds space that this one may need. */
static qg_status lay_out(qg_ckpt_pending *s)
{
  QG_TRY(qg_make_folder(s->options.folder));
  qg_ckpt_delete_leftovers(s->options.folder);
  s->part = (qg_ckpt_part){s->header.meta.step, qg_ckpt_part_unused(s->options.folder, s->header.meta.step)};
  QG_TRY(create_empty(s->temporary));
  return qg_ckpt_skeleton_make(s->temporary, &s->header, &s->plan, &s->part);
}

static qg_status make_part(qg_ckpt_pending *s, int rank)
{
  QG_TRY(qg_ckpt_part_path(s->options.folder, &s->part, rank, s->data));
  QG_TRY(create_empty(s->data));
  return qg_ckpt_reserve(s->data, s->plan.bytes[rank]);
}

/* The root makes the file and tells the others where things are. A folder that is not shared is found out. */
static qg_status make_place(qg_ckpt_pending *s)
{
  QG_TRY(qg_par_agree(s->par, s->root ? lay_out(s) : QG_OK));
  QG_TRY(qg_par_agree(s->par, see_file(s->temporary)));
  QG_TRY(qg_par_broadcast(s->par, &s->part, sizeof s->part, 0));
  if (s->options.files == QG_CKPT_PER_RANK)
    return qg_par_agree(s->par, make_part(s, qg_par_grid(s->par)->rank));
  size_t bytes = (size_t)s->plan.layout.count * sizeof *s->plan.places;
  QG_TRY(qg_par_broadcast(s->par, s->plan.places, bytes, 0));
  qg_ckpt_plan_place(&s->plan);
  snprintf(s->data, sizeof s->data, "%s", s->temporary);
  return QG_OK;
}

static qg_status gather_mine(qg_ckpt_pending *s, const qg_state_entry *entries, int count)
{
  void *memory;
  qg_ckpt_writer *w = &s->work.writer;
  QG_TRY(qg_calloc((size_t)s->plan.sums, sizeof *s->sums, "the checksums of a checkpoint", &memory));
  s->sums = memory;
  QG_TRY(qg_ckpt_pieces_make(&s->plan, s->be, entries, count, &s->pieces, &w->count));
  w->plan = &s->plan;
  w->pieces = s->pieces;
  w->be = s->be;
  w->path = s->data;
  w->sums = s->sums;
  return s->be->ops->sync(s->be);
}

static qg_status plan(qg_ckpt_pending *s, const qg_ckpt_meta *meta, const qg_state_entry *entries, int count)
{
  qg_fault("checkpoint.begin");
  QG_TRY(qg_ckpt_header_make(s->par, meta, &s->header));
  QG_TRY(qg_ckpt_path(s->options.folder, s->header.meta.step, "", s->path));
  QG_TRY(qg_ckpt_path(s->options.folder, s->header.meta.step, ".tmp", s->temporary));
  QG_TRY(qg_ckpt_plan_make(s->par, entries, count, s->options.files, s->header.slab_bytes, &s->plan));
  QG_TRY(qg_par_agree(s->par, gather_mine(s, entries, count)));
  QG_TRY(make_place(s));
  qg_fault("checkpoint.laid_out");
  return QG_OK;
}

/* Without the room for a snapshot the ranks that lack it write at once, and the others wait for them in the
 * next collective call: slower, but no less right. */
static qg_status start_writing(qg_ckpt_pending *s, qg_ckpt_snapshot snapshot)
{
  size_t bytes = (size_t)s->plan.bytes[qg_par_grid(s->par)->rank];
  bool beside = snapshot.memory && snapshot.bytes >= bytes;
  qg_status copied = QG_OK;
  if (beside)
    copied = qg_ckpt_take_snapshot(&s->plan, s->be, s->pieces, s->work.writer.count, snapshot.memory);
  QG_TRY(qg_par_agree(s->par, copied));
  if (beside) qg_fault("checkpoint.snapshot");
  if (beside) qg_ckpt_work_beside(&s->work);
  else
    qg_ckpt_work_here(&s->work);
  return QG_OK;
}

static void free_save(qg_ckpt_pending *s)
{
  free(s->sums);
  free(s->pieces);
  qg_ckpt_plan_free(&s->plan);
  qg_ckpt_header_free(&s->header);
  free(s);
}

/* Space on a full disk is given back at once. A file that has its name keeps what it refers to. */
static void delete_files(const qg_ckpt_pending *s)
{
  char path[QG_CKPT_PATH];
  if (!s->root || s->renamed) return;
  if (s->temporary[0]) unlink(s->temporary);
  if (s->options.files != QG_CKPT_PER_RANK || s->part.generation < 0) return;
  for (int rank = 0; rank < qg_par_grid(s->par)->size; rank++)
    if (qg_ckpt_part_path(s->options.folder, &s->part, rank, path) == QG_OK) unlink(path);
}

/* Whatever failed, to the caller it is the checkpoint. */
static qg_status fail_save(qg_ckpt_pending *s)
{
  char message[2048];
  snprintf(message, sizeof message, "%s", qg_error_message());
  delete_files(s);
  free_save(s);
  return qg_error_adopt(QG_ERR_CHECKPOINT, message);
}

qg_status qg_ckpt_begin(qg_par *par, qg_backend *be, const qg_ckpt_options *options, const qg_ckpt_meta *meta,
                        const qg_state_entry *entries, int count, qg_ckpt_snapshot snapshot,
                        qg_ckpt_pending **out)
{
  void *memory = NULL;
  *out = NULL;
  qg_h5_quiet();
  QG_TRY(qg_par_agree(par, qg_calloc(1, sizeof(qg_ckpt_pending), "the save of a checkpoint", &memory)));
  qg_ckpt_pending *s = memory;
  s->par = par;
  s->be = be;
  s->options = *options;
  s->part.generation = -1;
  s->root = qg_par_is_root(qg_par_grid(par));
  qg_status status = plan(s, meta, entries, count);
  if (status == QG_OK) status = start_writing(s, snapshot);
  if (status != QG_OK) return fail_save(s);
  *out = s;
  return QG_OK;
}

bool qg_ckpt_is_written(const qg_ckpt_pending *save)
{
  return qg_ckpt_work_is_done(&save->work);
}

/* Each slab was summed by one rank and is 0 elsewhere: the sum over ranks is its checksum. */
static qg_status collect_sums(const qg_ckpt_pending *s)
{
  qg_status status = QG_OK;
  void *memory = NULL;
  int count = 0;
  QG_TRY_OUT(qg_narrow_int(s->plan.sums, "the number of checksums of a checkpoint", &count));
  QG_TRY_OUT(qg_par_agree(
      s->par, qg_calloc((size_t)count, sizeof(double), "the checksums of a checkpoint", &memory)));
  double *values = memory;
  for (int i = 0; i < count; i++) values[i] = s->sums[i];
  QG_TRY_OUT(qg_par_sum(s->par, values, count));
  for (int i = 0; i < count; i++) s->sums[i] = (uint32_t)values[i];
out:
  free(memory);
  return status;
}

static qg_status publish(qg_ckpt_pending *s)
{
  QG_TRY(qg_ckpt_skeleton_complete(s->temporary, &s->plan, s->sums));
  QG_TRY(qg_ckpt_skeleton_check(s->temporary, &s->plan));
  qg_fault("checkpoint.verified");
  QG_CHECK(rename(s->temporary, s->path) == 0, QG_ERR_RESOURCE, "cannot rename %s to %s: %s", s->temporary,
           s->path, strerror(errno));
  s->renamed = true;
  qg_fault("checkpoint.renamed");
  return qg_sync_parent(s->path);
}

static void clear_away(const qg_ckpt_pending *s)
{
  int keep = s->options.files == QG_CKPT_PER_RANK ? s->part.generation : -1;
  qg_ckpt_part_delete(s->options.folder, s->part.step, keep);
  qg_ckpt_rotate(&s->options, s->header.meta.step);
}

static qg_status complete(qg_ckpt_pending *s)
{
  QG_TRY(qg_par_agree(s->par, qg_ckpt_work_wait(&s->work)));
  QG_TRY(collect_sums(s));
  QG_TRY(qg_par_agree(s->par, s->root ? publish(s) : QG_OK));
  if (s->root) clear_away(s);
  qg_fault("checkpoint.rotated");
  return QG_OK;
}

qg_status qg_ckpt_finish(qg_ckpt_pending *save)
{
  if (complete(save) != QG_OK) return fail_save(save);
  free_save(save);
  return QG_OK;
}

void qg_ckpt_abandon(qg_ckpt_pending *save)
{
  if (!save) return;
  (void)qg_ckpt_work_wait(&save->work);
  free_save(save);
}

qg_status qg_ckpt_save(qg_par *par, qg_backend *be, const qg_ckpt_options *options, const qg_ckpt_meta *meta,
                       const qg_state_entry *entries, int count)
{
  qg_ckpt_pending *save;
  QG_TRY(qg_ckpt_begin(par, be, options, meta, entries, count, (qg_ckpt_snapshot){0}, &save));
  return qg_ckpt_finish(save);
}
