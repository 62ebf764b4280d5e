/* Checkpoints of a run, one at a time: training waits for a save, or goes on during it (asynchronous). */
#ifndef QG_TRAIN_CHECKPOINT_WRITER_H
#define QG_TRAIN_CHECKPOINT_WRITER_H

#include "qgalore/ckpt.h"
#include "train/restart.h"
#include "train/run_folder.h"
#include "train/trainer.h"

typedef struct {
  qg_trainer *t;
  const qg_run_folder *folder;
  qg_ckpt_active_save *pending; /* the save under way, or NULL */
  int64_t step;                 /* of the save under way or the last one */
  double begun;                 /* qg_now() */
  double waited_before;         /* s of the phase "checkpoint" when the save began */
  bool asynchronous;            /* the save under way or the last one */
  /* Of the last save that ended, s: */
  double seconds;         /* from begin to end */
  double stall;           /* of these training stood still, on the rank that waited longest */
  double phases;          /* of the phases of the save */
  double waiting_seconds; /* what the save would take if training waited for all of it */
} qg_checkpoint_writer;

/* Starts a save; none may be under way. It is asynchronous if that is wanted and there is memory for a
 * snapshot. Collective. */
qg_status qg_checkpoint_writer_begin(qg_checkpoint_writer *writer, const qg_train_state *state,
                                     bool asynchronous);

/* Takes the save under way, if there is one, to its next phase, or with `wait` to its end; *ended tells
 * whether it got there. Its failure is the result. Collective. */
qg_status qg_checkpoint_writer_advance(qg_checkpoint_writer *writer, bool wait, bool *ended);

/* Gives up a save under way. Local. */
void qg_checkpoint_writer_abandon(qg_checkpoint_writer *writer);

#endif
