/* Checkpoints of a run, one at a time: here, or beside training. */
#ifndef QG_TRAIN_SAVER_H
#define QG_TRAIN_SAVER_H

#include "qgalore/ckpt.h"
#include "train/progress_state.h"
#include "train/run_folder.h"
#include "train/trainer.h"

typedef struct {
  qg_trainer *t;
  const qg_run_folder *folder;
  qg_ckpt_active_save *pending; /* the save under way, or NULL */
  int64_t step;                 /* of the save under way or the last one */
  double begun;                 /* qg_now() */
  double waited_before;         /* of the phase "checkpoint", when it began */
  bool beside;                  /* training goes on meanwhile */
  /* Of the last save that ended, seconds: from begin to end; of these training stood still on the rank that
   * waited longest; and what the save would take if training waited for all of it. */
  double seconds, stall, alone;
  double phases; /* s, of its phases */
} qg_saver;

/* Starts a save, beside training if it may and there is room for it; none may be under way. Collective. */
qg_status qg_saver_begin(qg_saver *saver, const qg_progress_state *state, bool beside);

/* Takes the save under way, if there is one, to its next phase, or with `wait` to its end; *ended tells
 * whether it got there. Its failure is the result. Collective. */
qg_status qg_saver_settle(qg_saver *saver, bool wait, bool *ended);

/* Gives up a save under way. Local. */
void qg_saver_abandon(qg_saver *saver);

#endif
