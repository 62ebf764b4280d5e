#include "train/run.h"

#include <math.h>
#include <unistd.h>

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

qg_status qg_run_open_folder(qg_run *run)
{
  qg_status status = run->root ? qg_run_folder_open(&run->folder, &run->lock) : QG_OK;
  return qg_par_agree(run->t->par, status);
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
  unlink(run->folder.stop_file); /* it belonged to an earlier attempt */
  QG_TRY(qg_run_folder_write_input(&run->folder, run->t->config));
  return qg_run_folder_write_status(&run->folder, "running", run->state.step, run->progress.steps, "started");
}

void qg_run_write_final_status(const qg_run *run, qg_status status)
{
  static const char *const reasons[] = {"all steps done", "asked to stop", "walltime", "STOP file"};
  bool finished = status == QG_OK && run->summary->reason == QG_STOP_FINISHED;
  const char *state = finished ? "finished" : status == QG_OK ? "resume" : "failed";
  const char *reason = status == QG_OK ? reasons[run->summary->reason] : qg_error_message();
  qg_run_folder_write_status(&run->folder, state,
                             run->saved_step < 0 ? run->progress.first_step : run->saved_step,
                             run->progress.steps, reason);
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

static qg_status end_save(qg_run *run, qg_status status)
{
  qg_progress_clear(&run->progress);
  if (status == QG_OK) saved(run);
  else
    qg_log_warn(run->log, "checkpoint at step %lld failed, the older ones are intact, training goes on: %s",
                (long long)run->writer.step, qg_error_message());
  return status;
}

qg_status qg_run_advance_save(qg_run *run, bool wait)
{
  bool ended;
  qg_status status = qg_checkpoint_writer_advance(&run->writer, wait, &ended);
  return ended ? end_save(run, status) : status;
}

qg_status qg_run_save(qg_run *run, bool asynchronous)
{
  (void)qg_run_advance_save(run, true);
  if (run->saved_step == run->state.step) return QG_OK;
  qg_status status = qg_checkpoint_writer_begin(&run->writer, &run->state, asynchronous);
  if (status != QG_OK) return end_save(run, status);
  return run->writer.asynchronous ? QG_OK : qg_run_advance_save(run, true);
}
