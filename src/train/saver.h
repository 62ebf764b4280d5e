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
  qg_ckpt_pending *pending; /* the save under way, or NULL */
  int64_t step;             /* of the save under way or the last one */
  double begun;             /* qg_now() */
  bool beside;              /* training went on meanwhile */
  double seconds, stall;    /* from begin to end; of these training stood still */
} qg_saver;

/* Starts a save; none may be under way. Collective. */
qg_status qg_saver_begin(qg_saver *saver, const qg_progress_state *state);

/* Ends the save under way, if there is one and all ranks have written or `wait`; otherwise *ended is false.
 * Its failure is the result. Collective. */
qg_status qg_saver_settle(qg_saver *saver, bool wait, bool *ended);

/* Gives up a save under way. Local. */
void qg_saver_abandon(qg_saver *saver);

#endif
