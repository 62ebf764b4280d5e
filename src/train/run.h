/* A run under way: what the loop and its guards share. */
#ifndef QG_TRAIN_RUN_H
#define QG_TRAIN_RUN_H

#include "train/checkpoint_writer.h"
#include "train/excluded_steps.h"
#include "train/loss_spike.h"
#include "train/metrics.h"
#include "train/progress.h"
#include "train/restart.h"
#include "train/stop.h"
#include "train/watchdog.h"

typedef struct {
  qg_trainer *t;
  const qg_log *log;
  qg_run_folder folder;
  double began; /* qg_now() before the first step of this attempt */
  qg_progress progress;
  qg_train_state state;
  qg_checkpoint_writer writer;
  qg_stop_watch watch;
  qg_request request; /* the strongest of this step, agreed */
  qg_watchdog *watchdog;
  qg_loss_window window;
  qg_metrics *metrics; /* rank 0, NULL elsewhere */
  int lock;            /* of the folder; rank 0, -1 elsewhere */
  qg_train_summary *summary;
  bool root;
  bool metrics_lost;  /* the last line could not be written */
  int64_t saved_step; /* of the newest checkpoint or of where the run went back to; -1: neither yet */
  int bad_steps;      /* skipped in a row */
  int rollbacks;      /* since the newest checkpoint */
  int64_t jump_step;  /* where data were left out last, and from which sequence on it goes on; -1: nowhere */
  int64_t jump_cursor;
  qg_excluded_steps excluded; /* since the newest checkpoint */
  bool owes_validation;       /* one was due and cut short */
} qg_run;

/* The files of a run beside its checkpoints (run_files.c). */

/* Makes the folder, which is this run's alone until it is closed. Collective. */
qg_status qg_run_open_folder(qg_run *run);
void qg_run_close_folder(const qg_run *run);
/* Opens metrics.jsonl at the step of the state, for the first time or again. Local; rank 0, no-op elsewhere.
 */
qg_status qg_run_open_metrics(qg_run *run);

void qg_run_write_metrics(qg_run *run, const qg_metrics_line *line);
/* The status file when a run begins, with resolved.in, and ends, with `status` as its result. Rank 0; the
 * first is a no-op elsewhere. */
qg_status qg_run_write_first_status(const qg_run *run);
void qg_run_write_final_status(const qg_run *run, qg_status status);
/* Says a failure that the run can live with. */
void qg_run_warn(const qg_run *run, qg_status status);

/* Ends a save under way; its failure is told as always. Collective. */
void qg_run_finish_save(qg_run *run);

#endif
