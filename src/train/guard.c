#include "train/guard.h"

#include <stdio.h>

#include "qgalore/base.h"

/* Without a checkpoint in between, before the run gives up. */
enum { ROLLBACKS_MAX = 3 };

/* The losses come from the file that all attempts share, so that a resumed run sees the spikes of a straight
 * one. */
qg_status qg_guard_begin(qg_run *run)
{
  if (run->t->config->run.spike_factor <= 0.0) return QG_OK;
  if (run->root)
    run->window.count =
        qg_metrics_recent_losses(run->folder.root, run->state.step, run->window.loss, QG_SPIKE_WINDOW);
  return qg_par_broadcast(run->t->par, &run->window, sizeof run->window, 0);
}

qg_status qg_guard_step(qg_run *run, qg_step_result *result, double *seconds)
{
  qg_progress_state *state = &run->state;
  qg_wish wish = {qg_stop_wish, &run->watch};
  double begin = qg_now();
  if (state->step == run->jump_step) state->cursor = run->jump_cursor;
  const qg_left_out *tried = qg_left_out_find(&run->left_out, state->step, state->cursor);
  if (tried) {
    *result = tried->result;
    *seconds = tried->seconds;
    return qg_train_leave_out(run->t, &wish, result);
  }
  QG_TRY(qg_train_step(run->t, state->step, state->cursor, &wish, result));
  *seconds = qg_now() - begin;
  return QG_OK;
}

/* The newest checkpoint, or where this attempt began if it has saved none, place in the data and all. */
static qg_status go_back(qg_run *run)
{
  qg_progress_clear(&run->progress);
  QG_TRY(qg_restart_again(run->t, run->log, &run->folder, run->summary->first_step, &run->state));
  QG_TRY(qg_trainer_begin(run->t, run->state.grad_norm));
  run->saved_step = run->state.step;
  run->progress.first_step = run->state.step;
  run->progress.started = qg_now();
  qg_watchdog_feed(run->watchdog, run->state.step);
  QG_TRY(qg_par_agree(run->t->par, qg_run_open_metrics(run)));
  return qg_guard_begin(run);
}

static void say_spike(const qg_run *run, int64_t newest)
{
  qg_log_warn(run->log, "loss %.4f of step %lld is a spike (run.spike_factor = %g): %s", run->state.loss,
              (long long)run->state.step, run->t->config->run.spike_factor,
              newest < 0 ? "there is no checkpoint to go back to, training goes on"
                         : "back to the newest checkpoint");
}

/* The state of the newest checkpoint with the place in the data of this moment, whenever the run comes by. */
static qg_status leave_data_out(qg_run *run)
{
  int64_t cursor = run->state.cursor;
  QG_TRY(go_back(run));
  qg_log_warn(run->log, "the data since then, sequences %lld to %lld, are left out",
              (long long)run->state.cursor, (long long)cursor - 1);
  run->jump_step = run->state.step;
  run->jump_cursor = cursor;
  return QG_OK;
}

static qg_status look_for_spike(qg_run *run, const qg_step_result *result, bool *back)
{
  int64_t newest;
  if (!qg_spike_seen(&run->window, run->t->config->run.spike_factor, result->loss)) return QG_OK;
  qg_run_finish_save(run);
  QG_TRY(qg_ckpt_newest(run->t->par, run->folder.checkpoints, &newest));
  say_spike(run, newest);
  if (newest < 0) return QG_OK;
  run->summary->agreed = run->rollbacks == ROLLBACKS_MAX;
  QG_CHECK(run->rollbacks < ROLLBACKS_MAX, QG_ERR_NUMERICAL,
           "the loss spiked again, %d times after the checkpoint at step %lld; lower optimizer.lr, raise "
           "run.spike_factor, or restart from an older checkpoint in %s",
           ROLLBACKS_MAX + 1, (long long)newest, run->folder.checkpoints);
  run->rollbacks++;
  *back = true;
  return leave_data_out(run);
}

/* number: of the step in log and metrics, which count from 1. */
static void say_undone(const qg_run *run, int64_t number)
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

/* Steps that are repeated come out as before, so of the skipped ones in a row those from after the way back
 * are counted again. */
static qg_status undo(qg_run *run, const qg_left_out *step)
{
  qg_run_finish_save(run);
  run->summary->agreed = run->left_out.count == QG_LEFT_OUT_MAX;
  QG_CHECK(
      run->left_out.count < QG_LEFT_OUT_MAX, QG_ERR_NUMERICAL,
      "step %lld is the %dth since the newest checkpoint that is not finite after parts of it had reached "
      "the state; lower optimizer.lr, save more often (checkpoint.every), or let such parts stay with "
      "run.nonfinite_partial=keep",
      (long long)step->step + 1, QG_LEFT_OUT_MAX + 1);
  qg_left_out_add(&run->left_out, step);
  QG_TRY(go_back(run));
  run->bad_steps = (int)qg_max_i64(0, run->bad_steps - (step->step - run->state.step));
  say_undone(run, step->step + 1);
  return QG_OK;
}

static bool is_last_bad_step(const qg_run *run)
{
  return run->bad_steps + 1 >= run->t->config->run.max_bad_steps;
}

/* A skipped step needs no way back for its loss. One that ends the run needs none at all: it is not saved. */
qg_status qg_guard_judge(qg_run *run, const qg_step_result *result, double seconds, bool *back)
{
  const qg_config *c = run->t->config;
  qg_left_out step = {run->state.step - 1, run->state.cursor - c->train.global_batch, seconds, *result};
  *back = result->partial && c->run.nonfinite_partial == QG_PARTIAL_ROLLBACK && !is_last_bad_step(run);
  if (*back) return undo(run, &step);
  return result->skipped ? QG_OK : look_for_spike(run, result, back);
}

/* A run that only skips would burn its allocation; the last good checkpoint is older than the trouble. */
qg_status qg_guard_count(qg_run *run, const qg_step_result *result)
{
  int64_t most = run->t->config->run.max_bad_steps;
  qg_spike_add(&run->window, result->loss);
  run->bad_steps = result->skipped ? run->bad_steps + 1 : 0;
  run->summary->agreed = run->bad_steps >= most;
  QG_CHECK(run->bad_steps < most, QG_ERR_NUMERICAL,
           "loss or gradient was not finite in %d steps in a row (last: step %lld); lower optimizer.lr or "
           "check the data, and restart from a checkpoint in %s",
           run->bad_steps, (long long)run->state.step, run->folder.checkpoints);
  return QG_OK;
}
