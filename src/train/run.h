/* A run under way: what the loop and its guards share. */
#ifndef QG_TRAIN_RUN_H
#define QG_TRAIN_RUN_H

#include "train/metrics.h"
#include "train/progress.h"
#include "train/restart.h"
#include "train/saver.h"
#include "train/spike.h"
#include "train/stop.h"
#include "train/watchdog.h"

typedef struct {
  qg_trainer *t;
  const qg_log *log;
  qg_run_folder folder;
  double began; /* qg_now() before the first step of this attempt */
  qg_progress progress;
  qg_progress_state state;
  qg_saver saver;
  qg_stop_watch watch;
  qg_request request; /* the strongest of this step, agreed */
  qg_watchdog *watchdog;
  qg_spike_window window;
  qg_metrics *metrics; /* rank 0, NULL elsewhere */
  qg_train_summary *summary;
  bool root;
  bool metrics_lost;    /* the last line could not be written */
  int64_t saved_step;   /* step of the newest checkpoint, -1: none of this attempt */
  int bad_steps;        /* skipped in a row */
  int rollbacks;        /* since the newest checkpoint */
  bool owes_validation; /* one was due and cut short */
} qg_run;

/* Opens metrics.jsonl at the step of the state, for the first time or again. Local; rank 0, no-op elsewhere.
 */
qg_status qg_run_open_metrics(qg_run *run);

/* Saves at the step of the state; an earlier save is waited for. Where the save goes on beside training, a
 * later qg_run_settle ends it. A failure is warned of. Collective. */
qg_status qg_run_save(qg_run *run);
/* Ends the save under way, if there is one and it is written, or after waiting for it. Collective. */
qg_status qg_run_settle(qg_run *run, bool wait);
/* Writing a small file on rank 0 may fail; nobody may go on alone, and training is worth more than a metrics
 * line. */
void qg_run_warn_if_failed(const qg_run *run, qg_status status);

#endif
