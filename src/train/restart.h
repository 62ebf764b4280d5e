/* Where a run begins. */
#ifndef QG_TRAIN_RESTART_H
#define QG_TRAIN_RESTART_H

#include "qgalore/ckpt.h"
#include "train/progress_state.h"
#include "train/run_folder.h"
#include "train/trainer.h"

/* Carries out run.restart: fresh weights, or those of a checkpoint. state->history is the caller's to free.
 * Collective. */
qg_status qg_restart(qg_trainer *t, const qg_log *log, const qg_run_folder *folder, qg_progress_state *state);

/* Goes back to the newest checkpoint of the run that is whole. QG_ERR_CHECKPOINT if all are damaged; without
 * any, starts from scratch. state as above. Collective. */
qg_status qg_restart_newest(qg_trainer *t, const qg_log *log, const qg_run_folder *folder,
                            qg_progress_state *state);

#endif
