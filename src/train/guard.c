#include "train/guard.h"

#include <stdlib.h>

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

static void say_spike(const qg_run *run, int64_t newest)
{
  qg_log_warn(run->log, "loss %.4f of step %lld is a spike (run.spike_factor = %g): %s", run->state.loss,
              (long long)run->state.step, run->t->config->run.spike_factor,
              newest < 0 ? "there is no checkpoint to go back to, training goes on"
                         : "back to the newest checkpoint");
}

/* The state of the newest checkpoint with the place in the data of this moment. */
static qg_status roll_back(qg_run *run)
{
  int64_t cursor = run->state.cursor;
  free(run->state.history);
  run->state.history = NULL;
  QG_TRY(qg_restart_newest(run->t, run->log, &run->folder, &run->state));
  QG_TRY(qg_trainer_begin(run->t, run->state.grad_norm));
  qg_log_warn(run->log, "the data since then, sequences %lld to %lld, are left out",
              (long long)run->state.cursor, (long long)cursor - 1);
  run->state.cursor = cursor;
  run->saved_step = run->state.step;
  run->progress.first_step = run->state.step;
  run->progress.started = qg_now();
  qg_watchdog_feed(run->watchdog, run->state.step);
  QG_TRY(qg_par_agree(run->t->par, qg_run_open_metrics(run)));
  return qg_guard_begin(run);
}

qg_status qg_guard_spike(qg_run *run, const qg_step_result *result, bool *back)
{
  int64_t newest;
  *back = false;
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
  return roll_back(run);
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
