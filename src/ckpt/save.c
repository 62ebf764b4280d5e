/* Saving: phase after phase, each agreed upon by all ranks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ckpt/h5_check.h"
#include "ckpt/pending.h"
#include "ckpt/snapshot.h"
#include "qgalore/base.h"
#include "qgalore/base/fault.h"

static void start_phase(qg_ckpt_pending *s)
{
  qg_ckpt_work_start(&s->work, qg_ckpt_phases[s->phase].task, s, s->beside);
}

static bool is_over(const qg_ckpt_pending *s)
{
  return s->phase == QG_CKPT_PHASES;
}

/* Ends the phase under way on all ranks, waiting for it, and starts the next. */
static qg_status next_phase(qg_ckpt_pending *s)
{
  QG_TRY(qg_par_agree(s->par, qg_ckpt_work_wait(&s->work)));
  double slowest = s->work.seconds;
  QG_TRY(qg_par_max(s->par, &slowest, 1));
  s->seconds += slowest;
  qg_status (*exchange)(qg_ckpt_pending *) = qg_ckpt_phases[s->phase++].exchange;
  if (exchange) QG_TRY(exchange(s));
  if (!is_over(s)) start_phase(s);
  return QG_OK;
}

static qg_status gather_mine(qg_ckpt_pending *s, const qg_state_entry *entries, int count)
{
  void *memory;
  QG_TRY(qg_calloc((size_t)s->plan.sums, sizeof *s->sums, "the checksums of a checkpoint", &memory));
  s->sums = memory;
  QG_TRY(qg_ckpt_pieces_make(&s->plan, s->be, entries, count, &s->pieces, &s->count));
  return s->be->ops->sync(s->be);
}

static qg_status plan(qg_ckpt_pending *s, const qg_ckpt_meta *meta, const qg_state_entry *entries, int count)
{
  qg_fault("checkpoint.begin");
  QG_TRY(qg_ckpt_header_make(s->par, meta, &s->header));
  QG_TRY(qg_ckpt_path(s->options.folder, s->header.meta.step, "", s->path));
  QG_TRY(qg_ckpt_path(s->options.folder, s->header.meta.step, ".tmp", s->temporary));
  QG_TRY(qg_ckpt_plan_make(s->par, entries, count, s->options.files, s->header.slab_bytes, &s->plan));
  return qg_par_agree(s->par, gather_mine(s, entries, count));
}

static qg_status copy_mine(void *save)
{
  qg_ckpt_pending *s = save;
  qg_ckpt_snapshot_copy(&s->plan, s->pieces, s->count);
  qg_fault("checkpoint.snapshot");
  return QG_OK;
}

/* A rank without room for its copy would have to write at once, and the others to wait for it: so all write
 * at once. */
static qg_status start_copying(qg_ckpt_pending *s, qg_ckpt_snapshot room)
{
  double fits = room.memory && room.bytes >= (size_t)s->plan.bytes[qg_par_grid(s->par)->rank];
  QG_TRY(qg_par_min(s->par, &fits, 1));
  s->beside = fits > 0.0;
  if (!s->beside) return QG_OK;
  QG_TRY(qg_par_agree(s->par, qg_ckpt_snapshot_begin(&s->plan, s->be, s->pieces, s->count, room.memory)));
  qg_ckpt_work_start(&s->copying, copy_mine, s, true);
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
  qg_ckpt_await_copy(s);
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
  if (status == QG_OK) status = start_copying(s, snapshot);
  if (status != QG_OK) return fail_save(s);
  start_phase(s);
  *out = s;
  return QG_OK;
}

bool qg_ckpt_is_beside(const qg_ckpt_pending *save)
{
  return save->beside;
}

void qg_ckpt_await_copy(qg_ckpt_pending *save)
{
  (void)qg_ckpt_work_wait(&save->copying);
}

static qg_status end_save(qg_ckpt_pending *s, qg_status status, double *seconds)
{
  if (status != QG_OK) return fail_save(s);
  *seconds = s->seconds;
  free_save(s);
  return QG_OK;
}

bool qg_ckpt_is_done(const qg_ckpt_pending *save)
{
  return qg_ckpt_work_is_done(&save->work);
}

qg_status qg_ckpt_advance(qg_ckpt_pending *save, bool *ended, double *seconds)
{
  qg_status status = next_phase(save);
  *ended = status != QG_OK || is_over(save);
  return *ended ? end_save(save, status, seconds) : QG_OK;
}

qg_status qg_ckpt_finish(qg_ckpt_pending *save, double *seconds)
{
  bool ended = false;
  qg_status status = QG_OK;
  while (!ended) status = qg_ckpt_advance(save, &ended, seconds);
  return status;
}

void qg_ckpt_abandon(qg_ckpt_pending *save)
{
  if (!save) return;
  qg_ckpt_await_copy(save);
  (void)qg_ckpt_work_wait(&save->work);
  free_save(save);
}

qg_status qg_ckpt_save(qg_par *par, qg_backend *be, const qg_ckpt_options *options, const qg_ckpt_meta *meta,
                       const qg_state_entry *entries, int count)
{
  qg_ckpt_pending *save;
  double seconds;
  QG_TRY(qg_ckpt_begin(par, be, options, meta, entries, count, (qg_ckpt_snapshot){0}, &save));
  return qg_ckpt_finish(save, &seconds);
}
