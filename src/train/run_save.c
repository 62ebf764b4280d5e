/* Checkpoints of the loop: one at a time, and a word about each. */
#include <math.h>

#include "qgalore/base.h"
#include "train/run.h"

void qg_run_warn_if_failed(const qg_run *run, qg_status status)
{
  if (status != QG_OK) qg_log_warn(run->log, "%s", qg_error_message());
}

static void report_saved(qg_run *run)
{
  const qg_saver *s = &run->saver;
  run->saved_step = s->step;
  run->rollbacks = 0;
  run->watch.longest_save = fmax(run->watch.longest_save, s->seconds);
  if (s->beside)
    qg_log_info(run->log, "%9lld checkpoint saved in %.2f s, training stood still for %.3f s of them",
                (long long)s->step, s->seconds, s->stall);
  else
    qg_log_info(run->log, "%9lld checkpoint saved in %.2f s", (long long)s->step, s->seconds);
  if (run->root)
    qg_run_warn_if_failed(run, qg_run_folder_write_status(&run->folder, "running", s->step,
                                                          run->progress.steps, "checkpoint saved"));
}

static qg_status report_save(qg_run *run, qg_status status)
{
  qg_progress_clear(&run->progress);
  if (status == QG_OK) report_saved(run);
  else
    qg_log_warn(run->log, "checkpoint at step %lld failed, the older ones are intact, training goes on: %s",
                (long long)run->saver.step, qg_error_message());
  return status;
}

qg_status qg_run_settle(qg_run *run, bool wait)
{
  bool ended;
  qg_status status = qg_saver_settle(&run->saver, wait, &ended);
  return ended ? report_save(run, status) : status;
}

qg_status qg_run_save(qg_run *run)
{
  (void)qg_run_settle(run, true);
  if (run->saved_step == run->state.step) return QG_OK;
  qg_status status = qg_saver_begin(&run->saver, &run->state);
  return status == QG_OK ? qg_run_settle(run, false) : report_save(run, status);
}
