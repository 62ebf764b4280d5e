/* A run under way: what the loop and the recovery from bad steps share, its files, and its saves. */
#ifndef QG_TRAIN_RUN_H
#define QG_TRAIN_RUN_H

#include "train/bad_steps.h"
#include "train/checkpoint_writer.h"
#include "train/heartbeat.h"
#include "train/metrics.h"
#include "train/progress.h"
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
  qg_heartbeat *heartbeat; /* rank 0, NULL elsewhere */
  qg_bad_steps bad;
  qg_metrics *metrics; /* rank 0, NULL elsewhere */
  qg_train_summary *summary;
  bool root;
  bool metrics_lost;    /* the last line could not be written */
  bool owes_validation; /* one was due and cut short */
  int64_t saved_step; /* of the newest checkpoint, or of where the run was rolled back to; -1: neither yet */
} qg_run;

/* Something was finished: watchdog and heartbeat begin to count anew. Local. */
void qg_run_feed(const qg_run *run);
/* Opens metrics.jsonl at the step of the state, for the first time or again. Local; rank 0, no-op elsewhere.
 */
qg_status qg_run_open_metrics(qg_run *run);
void qg_run_write_metrics(qg_run *run, const qg_metrics_line *line);

/* The status file with resolved.in when a run begins. Rank 0, no-op elsewhere. */
qg_status qg_run_write_first_status(const qg_run *run);
/* The status file when a run ends, with `status` as its result. Rank 0. */
void qg_run_write_final_status(const qg_run *run, qg_status status);
/* Warns of a failure that the run can live with. */
void qg_run_warn(const qg_run *run, qg_status status);

/* Saves, asynchronously if possible; an earlier save under way is finished first. No-op if this step is
 * saved. A failure is logged, and the run goes on; QG_ERR_NUMERICAL: the state is not finite, and the run has
 * to end. Collective. */
qg_status qg_run_save(qg_run *run);
/* Takes the save under way, if there is one, to its next phase, or with `wait` to its end. Results as above.
 * Collective. */
qg_status qg_run_advance_save(qg_run *run, bool wait);
/* The last save of an attempt. A full disk may get room again: tries for checkpoint.retry_time, until a
 * signal ends it, or the job's time does. Returns any failure. Collective. */
qg_status qg_run_save_last(qg_run *run);

#endif
