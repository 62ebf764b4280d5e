/* What a run keeps in its folder beside checkpoints. */
#include <unistd.h>

#include "train/run.h"

/* Writing a small file on rank 0 may fail; nobody may go on alone, and training is worth more than a metrics
 * line. */
void qg_run_warn(const qg_run *run, qg_status status)
{
  if (status != QG_OK) qg_log_warn(run->log, "%s", qg_error_message());
}

/* On a full disk one warning says it, not one a step. */
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

void qg_run_close_folder(const qg_run *run)
{
  if (run->lock >= 0) close(run->lock);
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
