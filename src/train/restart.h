/* Where a run begins, and what a checkpoint holds of it beside weights and optimizer state. */
#ifndef QG_TRAIN_RESTART_H
#define QG_TRAIN_RESTART_H

#include "qgalore/ckpt.h"
#include "train/run_folder.h"
#include "train/trainer.h"

/* What training has done so far: everything that is neither weights nor optimizer state. */
typedef struct {
  int64_t step; /* steps done */
  int64_t tokens;
  int64_t cursor;   /* sequences consumed */
  double elapsed;   /* seconds of training over all attempts */
  double loss;      /* of the last step */
  double grad_norm; /* of the last step that was not skipped */
  char *history;    /* one line per attempt; owned by the run */
} qg_train_state;

/* Carries out run.restart: fresh weights, or those of a checkpoint. state->history is the caller's to free.
 * Collective. */
qg_status qg_restart(qg_trainer *t, const qg_log *log, const qg_run_folder *folder, qg_train_state *state);

/* Rolls back, in the middle of an attempt that began at step `began`: to its newest checkpoint that is whole,
 * or to its beginning if it has saved none. state as above. Collective. */
qg_status qg_restart_roll_back(qg_trainer *t, const qg_log *log, const qg_run_folder *folder, int64_t began,
                               qg_train_state *state);

#endif
