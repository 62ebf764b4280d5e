/* Saving: phase after phase, each agreed upon by all ranks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ckpt/active_save.h"
#include "ckpt/h5_check.h"
#include "qgalore/base.h"
#include "qgalore/base/fault.h"

static void start_phase(qg_ckpt_active_save *s)
{
  qg_ckpt_task_start(&s->phase_task, qg_ckpt_phases[s->phase].run, s, s->background);
}

static bool is_over(const qg_ckpt_active_save *s)
{
  return s->phase == QG_CKPT_PHASES;
}

/* Ends the phase under way on all ranks, waiting for it, and starts the next. */
static qg_status next_phase(qg_ckpt_active_save *s)
{
  QG_TRY(qg_par_agree(s->par, qg_ckpt_task_wait(&s->phase_task)));
  double slowest = s->phase_task.seconds;
  QG_TRY(qg_par_max(s->par, &slowest, 1));
  s->seconds += slowest;
  qg_status (*exchange)(qg_ckpt_active_save *) = qg_ckpt_phases[s->phase++].exchange;
  if (exchange) QG_TRY(exchange(s));
  if (!is_over(s)) start_phase(s);
  return QG_OK;
}

static qg_status list_local_items(qg_ckpt_active_save *s, const qg_state_entry *entries, int count)
{
  void *memory;
  QG_TRY(qg_calloc((size_t)s->placement.sums, sizeof *s->sums, "the checksums of a checkpoint", &memory));
  s->sums = memory;
  QG_TRY(qg_ckpt_local_items_make(&s->placement, s->be, entries, count, &s->local));
  return s->be->ops->sync(s->be);
}

static qg_status prepare(qg_ckpt_active_save *s, const qg_ckpt_meta *meta, const qg_state_entry *entries,
                         int count)
{
  qg_fault("checkpoint.begin");
  QG_TRY(qg_ckpt_header_make(s->par, meta, &s->header));
  QG_TRY(qg_ckpt_path(s->options.folder, s->header.meta.step, "", s->path));
  QG_TRY(qg_ckpt_path(s->options.folder, s->header.meta.step, ".tmp", s->temporary));
  QG_TRY(
      qg_ckpt_placement_make(s->par, entries, count, s->options.files, s->header.block_bytes, &s->placement));
  return qg_par_agree(s->par, list_local_items(s, entries, count));
}

static qg_status copy_host_items(void *save)
{
  qg_ckpt_active_save *s = save;
  qg_ckpt_local_items_copy_host(&s->placement, &s->local);
  qg_fault("checkpoint.snapshot");
  return QG_OK;
}

/* If one rank has no memory for a copy, it must write at once and the others would wait for it: so all write
 * at once. */
static qg_status start_copying(qg_ckpt_active_save *s, qg_ckpt_snapshot snapshot)
{
  double fits =
      snapshot.memory && snapshot.bytes >= (size_t)s->placement.rank_bytes[qg_par_grid(s->par)->rank];
  QG_TRY(qg_par_min(s->par, &fits, 1));
  s->background = fits > 0.0;
  if (!s->background) return QG_OK;
  QG_TRY(qg_par_agree(s->par,
                      qg_ckpt_local_items_copy_device(&s->placement, s->be, &s->local, snapshot.memory)));
  qg_ckpt_task_start(&s->copy_task, copy_host_items, s, true);
  return QG_OK;
}

static void free_save(qg_ckpt_active_save *s)
{
  free(s->sums);
  qg_ckpt_local_items_free(&s->local);
  qg_ckpt_placement_free(&s->placement);
  qg_ckpt_header_free(&s->header);
  free(s);
}

/* Space on a full disk is given back at once. A file that has its name keeps what it refers to. */
static void delete_files(const qg_ckpt_active_save *s)
{
  char path[QG_CKPT_PATH];
  if (!s->root || s->renamed) return;
  if (s->temporary[0]) unlink(s->temporary);
  if (s->options.files != QG_CKPT_PER_RANK || s->rank_files.generation < 0) return;
  for (int rank = 0; rank < qg_par_grid(s->par)->size; rank++)
    if (qg_ckpt_rank_file_path(s->options.folder, &s->rank_files, rank, path) == QG_OK) unlink(path);
}

/* What failed is the checkpoint, unless it is the disk, or the numbers that were to be saved. */
static qg_status fail_save(qg_ckpt_active_save *s, qg_status status)
{
  bool tells = status == QG_ERR_RESOURCE || status == QG_ERR_NUMERICAL;
  char message[2048];
  snprintf(message, sizeof message, "%s", qg_error_message());
  qg_ckpt_await_copy(s);
  delete_files(s);
  free_save(s);
  return qg_error_adopt(tells ? status : QG_ERR_CHECKPOINT, message);
}

qg_status qg_ckpt_begin(qg_par *par, qg_backend *be, const qg_ckpt_options *options, const qg_ckpt_meta *meta,
                        const qg_state_entry *entries, int count, qg_ckpt_snapshot snapshot,
                        qg_ckpt_active_save **out)
{
  void *memory = NULL;
  *out = NULL;
  qg_h5_quiet();
  QG_TRY(qg_par_agree(par, qg_calloc(1, sizeof(qg_ckpt_active_save), "the save of a checkpoint", &memory)));
  qg_ckpt_active_save *s = memory;
  s->par = par;
  s->be = be;
  s->options = *options;
  s->rank_files.generation = -1;
  s->root = qg_par_is_root(qg_par_grid(par));
  qg_status status = prepare(s, meta, entries, count);
  if (status == QG_OK) status = start_copying(s, snapshot);
  if (status != QG_OK) return fail_save(s, status);
  start_phase(s);
  *out = s;
  return QG_OK;
}

bool qg_ckpt_is_background(const qg_ckpt_active_save *save)
{
  return save->background;
}

void qg_ckpt_await_copy(qg_ckpt_active_save *save)
{
  (void)qg_ckpt_task_wait(&save->copy_task);
}

bool qg_ckpt_is_done(const qg_ckpt_active_save *save)
{
  return qg_ckpt_task_is_done(&save->phase_task);
}

qg_status qg_ckpt_advance(qg_ckpt_active_save *save, bool *ended, double *seconds)
{
  qg_status status = next_phase(save);
  *ended = status != QG_OK || is_over(save);
  if (!*ended) return QG_OK;
  if (status != QG_OK) return fail_save(save, status);
  *seconds = save->seconds;
  free_save(save);
  return QG_OK;
}

qg_status qg_ckpt_finish(qg_ckpt_active_save *save, double *seconds)
{
  bool ended = false;
  qg_status status = QG_OK;
  while (!ended) status = qg_ckpt_advance(save, &ended, seconds);
  return status;
}

void qg_ckpt_abandon(qg_ckpt_active_save *save)
{
  if (!save) return;
  qg_ckpt_await_copy(save);
  (void)qg_ckpt_task_wait(&save->phase_task);
  free_save(save);
}

qg_status qg_ckpt_save(qg_par *par, qg_backend *be, const qg_ckpt_options *options, const qg_ckpt_meta *meta,
                       const qg_state_entry *entries, int count)
{
  qg_ckpt_active_save *save;
  double seconds;
  QG_TRY(qg_ckpt_begin(par, be, options, meta, entries, count, (qg_ckpt_snapshot){0}, &save));
  return qg_ckpt_finish(save, &seconds);
}
