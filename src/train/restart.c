#include "train/restart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "qgalore/base.h"
#include "train/data_identity.h"
#include "train/optim_options.h"

/* Adds to the run's history: when and where this attempt begins, and its changed keys. Checkpoints get that
 * of rank 0. */
static qg_status add_attempt(const qg_trainer *t, const char *before, const char *changes,
                             qg_train_state *state)
{
  char arrangement[QG_ARRANGEMENT], when[32];
  qg_format_utc(when, sizeof when, time(NULL));
  qg_selftest_arrangement(t->config, t->be, arrangement);
  int bytes = asprintf(&state->history, "%s%s from step %lld on %d ranks: %s\n%s", before, when,
                       (long long)state->step, t->stages, arrangement, changes);
  if (bytes < 0) state->history = NULL;
  QG_CHECK(bytes >= 0, QG_ERR_RESOURCE, "no host memory for the history of the run");
  return QG_OK;
}

static qg_status start_fresh(qg_trainer *t, const qg_log *log, qg_train_state *state)
{
  *state = (qg_train_state){0};
  t->data_begin = 0;
  QG_TRY(qg_par_agree(t->par, qg_trainer_start_fresh(t)));
  qg_log_info(log, "start     from scratch, seed %lld", (long long)t->config->train.seed);
  return qg_par_agree(t->par, add_attempt(t, "", "", state));
}

/* A checkpoint that was saved without a self-test has no tokens for one: they stay those of the seed. */
static qg_status load_state(qg_trainer *t, qg_ckpt_file *file)
{
  const qg_state_entry *entries;
  int count;
  QG_TRY(qg_par_agree(t->par, qg_trainer_state(t, &entries, &count)));
  if (t->selftest.stage && isnan(qg_ckpt_get_meta(file)->selftest_loss)) count--;
  QG_TRY(qg_ckpt_load(file, t->be, entries, count));
  return qg_par_agree(t->par, qg_optim_state_loaded(t->optim));
}

/* A longer train.steps, or another schedule, can send the rate up again long after it had fallen: that is
 * said before it happens. */
static void tell_of_another_rate(const qg_trainer *t, const qg_log *log, const qg_config *saved, int64_t step)
{
  qg_schedule before = qg_schedule_from_config(saved), now = qg_schedule_from_config(t->config);
  double old_rate = qg_learning_rate(&before, step), rate = qg_learning_rate(&now, step);
  if (fabs(rate - old_rate) > 1e-6 * old_rate)
    qg_log_warn(
        log,
        "the learning rate of step %lld is %.3e now and was %.3e by the schedule of the checkpoint (%lld "
        "steps, here %lld); optimizer.schedule = constant or wsd can be made longer without such a change",
        (long long)step + 1, rate, old_rate, (long long)before.steps, (long long)now.steps);
}

static void log_changes(const qg_log *log, const char *changes)
{
  for (const char *line = changes; *line; line += strcspn(line, "\n") + 1)
    qg_log_info(log, "changed   %.*s", (int)strcspn(line, "\n"), line);
}

/* What this attempt does in another way than the one before. Caller frees *changes. */
static qg_status tell_changes(const qg_trainer *t, const qg_log *log, const qg_ckpt_meta *meta,
                              char **changes)
{
  qg_config *saved;
  QG_TRY(qg_calloc(1, sizeof *saved, "the input in the checkpoint", (void **)&saved));
  qg_status status = qg_config_load_saved(meta->resolved_input, saved);
  if (status == QG_OK) status = qg_config_list_changes(t->config, saved, changes);
  if (status == QG_OK) log_changes(log, *changes);
  if (status == QG_OK) tell_of_another_rate(t, log, saved, meta->step);
  free(saved);
  return status;
}

static qg_status resume_from(qg_trainer *t, const qg_log *log, const char *path, qg_train_state *state)
{
  qg_ckpt_file *file = NULL;
  char *changes = NULL;
  qg_status status;
  QG_TRY_OUT(qg_ckpt_open(t->par, path, &file));
  const qg_ckpt_meta *meta = qg_ckpt_get_meta(file);
  QG_TRY_OUT(qg_par_agree(t->par, qg_config_check_restart(t->config, meta->resolved_input)));
  QG_TRY_OUT(qg_par_agree(t->par, tell_changes(t, log, meta, &changes)));
  QG_TRY_OUT(qg_data_identity_check(t, log, meta));
  QG_TRY_OUT(load_state(t, file));
  QG_TRY_OUT(qg_selftest_check(&t->selftest, meta));
  *state = (qg_train_state){.step = meta->step,
                            .tokens = meta->tokens,
                            .cursor = meta->cursor,
                            .elapsed = meta->elapsed,
                            .loss = meta->last_loss,
                            .grad_norm = meta->last_grad_norm};
  QG_TRY_OUT(qg_par_agree(t->par, add_attempt(t, meta->history, changes, state)));
  qg_log_info(log, "start     resumed %s at step %lld", path, (long long)meta->step);
out:
  free(changes);
  qg_ckpt_close(file);
  return status;
}

/* Deletes checkpoints after `step`, where this attempt begins: the next restart = auto must not find them. No
 * work is deleted silently, so it takes run.overwrite. */
static qg_status replace_later(qg_trainer *t, const qg_run_folder *folder, int64_t step)
{
  int64_t newest;
  QG_TRY(qg_ckpt_newest(t->par, folder->checkpoints, &newest));
  QG_CHECK(newest <= step || t->config->run.overwrite, QG_ERR_INPUT,
           "run.restart = %s would begin at step %lld, but %s holds checkpoints up to step %lld; give the "
           "run another "
           "run.name, or allow it to replace them with run.overwrite=yes",
           t->config->run.restart, (long long)qg_max_i64(step, 0), folder->checkpoints, (long long)newest);
  return qg_ckpt_discard(t->par, folder->checkpoints, step);
}

static qg_status start_anew(qg_trainer *t, const qg_log *log, const qg_run_folder *folder,
                            qg_train_state *state)
{
  QG_TRY(replace_later(t, folder, -1));
  return start_fresh(t, log, state);
}

static qg_status branch_from(qg_trainer *t, const qg_log *log, const qg_run_folder *folder, const char *path,
                             qg_train_state *state)
{
  QG_TRY(resume_from(t, log, path, state));
  return replace_later(t, folder, state->step);
}

/* If all checkpoints are damaged, the user decides whether to start from scratch, not the program. */
static qg_status restart_newest(qg_trainer *t, const qg_log *log, const qg_run_folder *folder,
                                qg_train_state *state)
{
  char path[QG_PATH_MAX * 3];
  int64_t newest;
  QG_TRY(qg_ckpt_find(t->par, log, folder->checkpoints, path, sizeof path));
  if (path[0]) return resume_from(t, log, path, state);
  QG_TRY(qg_ckpt_newest(t->par, folder->checkpoints, &newest));
  QG_CHECK(newest < 0, QG_ERR_CHECKPOINT,
           "%s holds checkpoints, but none that is whole (the warnings above say why); restore one from a "
           "copy, or start "
           "anew with run.restart=scratch run.overwrite=yes",
           folder->checkpoints);
  return start_fresh(t, log, state);
}

qg_status qg_restart(qg_trainer *t, const qg_log *log, const qg_run_folder *folder, qg_train_state *state)
{
  const char *restart = t->config->run.restart;
  if (strcmp(restart, "scratch") == 0) return start_anew(t, log, folder, state);
  if (strcmp(restart, "auto") == 0) return restart_newest(t, log, folder, state);
  return branch_from(t, log, folder, restart, state);
}

/* If the attempt began from a path, checkpoints up to its first step may belong to another run. */
qg_status qg_restart_roll_back(qg_trainer *t, const qg_log *log, const qg_run_folder *folder, int64_t began,
                               qg_train_state *state)
{
  const char *restart = t->config->run.restart;
  int64_t newest;
  free(state->history);
  state->history = NULL;
  QG_TRY(qg_ckpt_newest(t->par, folder->checkpoints, &newest));
  if (newest > began || strcmp(restart, "auto") == 0) return restart_newest(t, log, folder, state);
  return strcmp(restart, "scratch") == 0 ? start_fresh(t, log, state) : resume_from(t, log, restart, state);
}
