/* Where a run begins, and how it is saved. */
#ifndef QG_TRAIN_RESTART_H
#define QG_TRAIN_RESTART_H

#include "qgalore/ckpt.h"
#include "train/run_folder.h"
#include "train/trainer.h"

/* What training has done so far: everything that is neither weights nor optimizer state. */
typedef struct {
  int64_t step; /* steps done */
  int64_t tokens;
  int64_t cursor;         /* sequences consumed */
  double elapsed;         /* seconds of training over all attempts */
  double loss, grad_norm; /* of the last step */
} qg_progress_state;

/* Carries out run.restart: fresh weights, or those of a checkpoint. Collective. */
qg_status qg_restart(qg_trainer *t, const qg_log *log, const qg_run_folder *folder, qg_progress_state *state);

/* Goes back to the newest checkpoint of the run that is whole. QG_ERR_CHECKPOINT if all are damaged; without
 * any, starts from scratch. Collective. */
qg_status qg_restart_newest(qg_trainer *t, const qg_log *log, const qg_run_folder *folder,
                            qg_progress_state *state);

/* Writes a checkpoint; seconds: how long it took. Collective. */
qg_status qg_save(qg_trainer *t, const qg_run_folder *folder, const qg_progress_state *state,
                  double *seconds);

#endif
