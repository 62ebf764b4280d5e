#include "train/run.h"

#include <math.h>
#include <unistd.h>

#include "qgalore/base.h"

/* Rank 0 alone knows that a small file could not be written. Failing would stop a run for a line of metrics.
 */
void qg_run_warn(const qg_run *run, qg_status status)
{
  if (status != QG_OK) qg_log_warn(run->log, "%s", qg_error_message());
}

/* On a full disk there is one warning, not one a step. */
void qg_run_write_metrics(qg_run *run, const qg_metrics_line *line)
{
  qg_status status = qg_metrics_write(run->metrics, line);
  if (!run->metrics_lost) qg_run_warn(run, status);
  run->metrics_lost = status != QG_OK;
}

void qg_run_feed(const qg_run *run)
{
  qg_watchdog_feed(run->watchdog, run->state.step);
  qg_heartbeat_feed(run->heartbeat, run->state.step);
}

qg_status qg_run_open_metrics(qg_run *run)
{
  qg_metrics_close(run->metrics);
  run->metrics = NULL;
  if (!run->root) return QG_OK;
  return qg_metrics_open(run->folder.root, &run->t->config->model, run->state.step, &run->metrics);
}

qg_status qg_run_write_first_status(const qg_run *run)
{
  if (!run->root) return QG_OK;
  QG_TRY(qg_run_folder_write_input(&run->folder, run->t->config));
  return qg_run_folder_write_status(&run->folder, "running", run->state.step, run->progress.steps, "started");
}

void qg_run_write_final_status(const qg_run *run, qg_status status)
{
  static const char *const reasons[] = {"all steps done", "asked to stop", "walltime", "STOP file"};
  bool finished = status == QG_OK && run->summary->reason == QG_STOP_FINISHED;
  const char *state = finished ? "finished" : status == QG_OK ? "resume" : "failed";
  char error[2048];
  snprintf(error, sizeof error, "%s", qg_error_message());
  qg_run_folder_write_status(&run->folder, state,
                             run->saved_step < 0 ? run->progress.first_step : run->saved_step,
                             run->progress.steps, status == QG_OK ? reasons[run->summary->reason] : error);
  if (status != QG_OK) qg_error_adopt(status, error);
}

static void saved(qg_run *run)
{
  const qg_checkpoint_writer *w = &run->writer;
  run->saved_step = w->step;
  run->bad.rollbacks = 0;
  qg_excluded_steps_forget(&run->bad.excluded, w->step);
  run->watch.longest_save = fmax(run->watch.longest_save, w->waiting_seconds);
  if (w->asynchronous)
    qg_log_info(run->log, "%9lld checkpoint saved in %.2f s, training stood still for %.3f s of them",
                (long long)w->step, w->seconds, w->stall);
  else
    qg_log_info(run->log, "%9lld checkpoint saved in %.2f s", (long long)w->step, w->seconds);
  if (run->root)
    qg_run_warn(run, qg_run_folder_write_status(&run->folder, "running", w->step, run->progress.steps,
                                                "checkpoint saved"));
}

static void warn_of_failed_save(const qg_run *run)
{
  char older[64] = "there is no older one";
  if (run->saved_step >= 0)
    snprintf(older, sizeof older, "that of step %lld is intact", (long long)run->saved_step);
  qg_log_warn(run->log, "checkpoint at step %lld failed, %s: %s", (long long)run->writer.step, older,
              qg_error_message());
}

static qg_status end_save(qg_run *run, qg_status status)
{
  qg_progress_clear(&run->progress);
  if (status == QG_OK) saved(run);
  else
    warn_of_failed_save(run);
  return status;
}

/* A run can go on without a checkpoint, but not from a state that no checkpoint may hold. */
static qg_status unless_lost(qg_run *run, qg_status status)
{
  if (status != QG_ERR_NUMERICAL) return QG_OK;
  run->summary->agreed = true;
  return status;
}

static qg_status advance(qg_run *run, bool wait)
{
  bool ended;
  qg_status status = qg_checkpoint_writer_advance(&run->writer, wait, &ended);
  return ended ? end_save(run, status) : status;
}

qg_status qg_run_advance_save(qg_run *run, bool wait)
{
  return unless_lost(run, advance(run, wait));
}

qg_status qg_run_save(qg_run *run)
{
  QG_TRY(qg_run_advance_save(run, true));
  if (run->saved_step == run->state.step) return QG_OK;
  run->watch.last_save = qg_now();
  qg_status status = qg_checkpoint_writer_begin(&run->writer, &run->state, true);
  if (status != QG_OK) return unless_lost(run, end_save(run, status));
  return run->writer.asynchronous ? QG_OK : qg_run_advance_save(run, true);
}

/* --- the last save --- */

enum { SECONDS_BETWEEN_TRIES = 2 };

/* Until when a full disk is waited for: the job's time may end before. */
static double give_up_at(const qg_run *run)
{
  const qg_stop_watch *w = &run->watch;
  double end = qg_now() + run->t->config->checkpoint.retry_time;
  double job = w->started + w->walltime - 1.5 * w->longest_save - 10.0;
  return w->walltime > 0.0 ? fmin(end, job) : end;
}

/* Rank 0's clock decides, and a signal on any rank. The same on all ranks. */
static qg_status wait_for_room(qg_run *run, double until, int signals, bool *again)
{
  double pause = 0.0, ended = 0.0;
  if (run->root) pause = fmin(until - qg_now(), SECONDS_BETWEEN_TRIES);
  QG_TRY(qg_par_max(run->t->par, &pause, 1));
  double end = qg_now() + pause;
  while (qg_now() < end && qg_stop_signals() == signals) usleep(100000);
  ended = pause <= 0.0 || qg_stop_signals() != signals;
  QG_TRY(qg_par_max(run->t->par, &ended, 1));
  qg_run_feed(run);
  *again = ended == 0.0;
  return QG_OK;
}

static qg_status save_at_once(qg_run *run)
{
  bool ended;
  QG_TRY(qg_checkpoint_writer_begin(&run->writer, &run->state, false));
  return qg_checkpoint_writer_advance(&run->writer, true, &ended);
}

/* Tries again, without a warning each time. */
static qg_status save_when_there_is_room(qg_run *run)
{
  char left[32];
  double until = give_up_at(run);
  int signals = qg_stop_signals();
  bool again = true;
  qg_status status = QG_ERR_RESOURCE;
  if (until > qg_now())
    qg_log_info(run->log,
                "          trying again for %s (checkpoint.retry_time): make room; a signal ends the wait",
                qg_format_seconds(left, sizeof left, until - qg_now()));
  while (status == QG_ERR_RESOURCE) {
    QG_TRY(wait_for_room(run, until, signals, &again));
    if (!again) break;
    status = save_at_once(run);
  }
  if (status == QG_OK) saved(run);
  return status;
}

qg_status qg_run_save_last(qg_run *run)
{
  QG_TRY(qg_run_advance_save(run, true));
  if (run->saved_step == run->state.step) return QG_OK;
  qg_status status = end_save(run, save_at_once(run));
  if (status == QG_ERR_RESOURCE) status = save_when_there_is_room(run);
  run->summary->agreed |= status != QG_OK;
  return status;
}
