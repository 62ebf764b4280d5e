#include "train/recovery.h"

#include <stdio.h>

#include "qgalore/base.h"

/* Without a checkpoint in between, before the run gives up. */
enum { ROLLBACKS_MAX = 3 };

/* The losses come from the file that all attempts share, so that a resumed run sees the same spikes as one
 * that was never interrupted. */
qg_status qg_recovery_begin(qg_run *run)
{
  qg_loss_window *window = &run->bad.window;
  if (run->t->config->run.spike_factor <= 0.0) return QG_OK;
  if (run->root)
    window->count = qg_metrics_recent_losses(run->folder.root, run->state.step, window->loss, QG_LOSS_WINDOW);
  return qg_par_broadcast(run->t->par, window, sizeof *window, 0);
}

qg_status qg_recovery_take_step(qg_run *run, qg_step_result *result, double *seconds)
{
  qg_train_state *state = &run->state;
  qg_stop_vote vote = {qg_stop_cast_vote, &run->watch};
  double begin = qg_now();
  if (state->step == run->bad.skip_step) state->cursor = run->bad.skip_cursor;
  const qg_excluded_step *excluded = qg_excluded_steps_find(&run->bad.excluded, state->step, state->cursor);
  if (excluded) {
    *result = excluded->result;
    *seconds = excluded->seconds;
    return qg_train_excluded_step(run->t, &vote, result);
  }
  QG_TRY(qg_train_step(run->t, state->step, state->cursor, &vote, result));
  *seconds = qg_now() - begin;
  return QG_OK;
}

/* To the newest checkpoint, or to where this attempt began if it has saved none. The place in the data goes
 * back too. */
static qg_status roll_back(qg_run *run)
{
  qg_progress_clear(&run->progress);
  QG_TRY(qg_restart_roll_back(run->t, run->log, &run->folder, run->summary->first_step, &run->state));
  QG_TRY(qg_trainer_begin(run->t, run->state.grad_norm));
  run->saved_step = run->state.step;
  run->progress.first_step = run->state.step;
  run->progress.started = qg_now();
  qg_run_feed(run);
  QG_TRY(qg_par_agree(run->t->par, qg_run_open_metrics(run)));
  return qg_recovery_begin(run);
}

/* The data since the checkpoint are left out now, and whenever the run repeats its next step. */
static qg_status skip_data(qg_run *run)
{
  int64_t cursor = run->state.cursor;
  QG_TRY(roll_back(run));
  qg_log_warn(run->log, "the data since then, sequences %lld to %lld, are left out",
              (long long)run->state.cursor, (long long)cursor - 1);
  run->bad.skip_step = run->state.step;
  run->bad.skip_cursor = cursor;
  return QG_OK;
}

static qg_status check_spike(qg_run *run, const qg_step_result *result, bool *rolled_back)
{
  int64_t newest;
  double factor = run->t->config->run.spike_factor;
  if (!qg_loss_is_spike(&run->bad.window, factor, result->loss)) return QG_OK;
  QG_TRY(qg_run_advance_save(run, true));
  QG_TRY(qg_ckpt_newest(run->t->par, run->folder.checkpoints, &newest));
  qg_log_warn(run->log, "loss %.4f of step %lld is a spike (run.spike_factor = %g): %s", run->state.loss,
              (long long)run->state.step, factor,
              newest < 0 ? "there is no checkpoint to go back to, training goes on"
                         : "back to the newest checkpoint");
  if (newest < 0) return QG_OK;
  run->summary->agreed = run->bad.rollbacks == ROLLBACKS_MAX;
  QG_CHECK(run->bad.rollbacks < ROLLBACKS_MAX, QG_ERR_NUMERICAL,
           "the loss spiked again, %d times after the checkpoint at step %lld; lower optimizer.lr, raise "
           "run.spike_factor, or restart from an older checkpoint in %s",
           ROLLBACKS_MAX + 1, (long long)newest, run->folder.checkpoints);
  run->bad.rollbacks++;
  *rolled_back = true;
  return skip_data(run);
}

/* number: of the step in log and metrics, which count from 1. */
static void log_undone(const qg_run *run, int64_t number)
{
  char reason[128];
  qg_log_warn(run->log,
              "step %lld is not finite, but parts of it had reached the state: back to step %lld, the steps "
              "since then are repeated without it (run.nonfinite_partial)",
              (long long)number, (long long)run->state.step);
  snprintf(reason, sizeof reason, "step %lld is left out, steps from %lld on are repeated", (long long)number,
           (long long)run->state.step + 1);
  if (run->root)
    qg_run_warn(run, qg_run_folder_write_status(&run->folder, "running", run->state.step, run->progress.steps,
                                                reason));
}

/* Repeated steps come out as before. So the bad steps in a row that the run is about to repeat are taken off
 * the count. */
static qg_status roll_back_step(qg_run *run, const qg_excluded_step *step)
{
  qg_excluded_steps *excluded = &run->bad.excluded;
  QG_TRY(qg_run_advance_save(run, true));
  run->summary->agreed = excluded->count == QG_EXCLUDED_STEPS_MAX;
  QG_CHECK(
      excluded->count < QG_EXCLUDED_STEPS_MAX, QG_ERR_NUMERICAL,
      "step %lld is the %dth since the newest checkpoint that is not finite after parts of it had reached "
      "the state; lower optimizer.lr, save more often (checkpoint.every), or let such parts stay with "
      "run.nonfinite_partial=keep",
      (long long)step->step + 1, QG_EXCLUDED_STEPS_MAX + 1);
  qg_excluded_steps_add(excluded, step);
  QG_TRY(roll_back(run));
  run->bad.in_a_row = (int)qg_max_i64(0, run->bad.in_a_row - (step->step - run->state.step));
  log_undone(run, step->step + 1);
  return QG_OK;
}

/* A step without an update is not looked at for a spike. The last bad step that is allowed ends the run,
 * which then saves nothing, so it is not undone. */
qg_status qg_recovery_check(qg_run *run, const qg_step_result *result, double seconds, bool *rolled_back)
{
  const qg_config *c = run->t->config;
  qg_excluded_step step = {run->state.step - 1, run->state.cursor - c->train.global_batch, seconds, *result};
  bool ends_run = run->bad.in_a_row + 1 >= c->run.max_bad_steps;
  *rolled_back = result->partial && c->run.nonfinite_partial == QG_PARTIAL_ROLLBACK && !ends_run;
  if (*rolled_back) return roll_back_step(run, &step);
  return result->skipped ? QG_OK : check_spike(run, result, rolled_back);
}

/* A run whose steps are all bad would use up its allocation; its last good checkpoint is older than the
 * trouble. */
qg_status qg_recovery_count(qg_run *run, const qg_step_result *result)
{
  int64_t most = run->t->config->run.max_bad_steps;
  qg_loss_window_add(&run->bad.window, result->loss);
  run->bad.in_a_row = result->skipped ? run->bad.in_a_row + 1 : 0;
  run->watch.bad_step = result->skipped;
  run->summary->agreed = run->bad.in_a_row >= most;
  QG_CHECK(run->bad.in_a_row < most, QG_ERR_NUMERICAL,
           "loss or gradient was not finite in %d steps in a row (last: step %lld); lower optimizer.lr or "
           "check the data, and restart from a checkpoint in %s",
           run->bad.in_a_row, (long long)run->state.step, run->folder.checkpoints);
  return QG_OK;
}
