/* Where a run begins. */
#ifndef QG_TRAIN_RESTART_H
#define QG_TRAIN_RESTART_H

#include "qgalore/ckpt.h"
#include "train/progress_state.h"
#include "train/run_folder.h"
#include "train/trainer.h"

/* Carries out run.restart: fresh weights, or those of a checkpoint. state->history is the caller's to free.
 * Collective. */
qg_status qg_restart(qg_trainer *t, const qg_log *log, const qg_run_folder *folder, qg_train_state *state);

/* Goes back in the middle of an attempt that began at step `began`: to its newest checkpoint that is whole,
 * or to its beginning if it has saved none. state as above. Collective. */
qg_status qg_restart_again(qg_trainer *t, const qg_log *log, const qg_run_folder *folder, int64_t began,
                           qg_train_state *state);

#endif
