/* One optimizer step and one pass over the validation set. */
#ifndef QG_TRAIN_STEP_H
#define QG_TRAIN_STEP_H

#include "train/evaluate.h"
#include "train/trainer.h"

typedef struct {
  double loss;      /* nats per token of the step's batch, before the update */
  double grad_norm; /* before clipping */
  double lr;
  int64_t tokens;                      /* targets in the batch */
  int64_t refreshes, failed_refreshes; /* over all ranks */
  const qg_refresh_record *records;    /* [refreshes], in parameter order; the trainer's */
  bool skipped;                        /* loss or gradient was not finite: no update */
  bool partial;                        /* skipped, after parts of it had reached some rank's state */
  double votes;                        /* sum over ranks */
  bool save_phase_done;                /* all ranks have done the phase of the save under way */
} qg_step_result;

/* Trains on the sequences [cursor, cursor + global_batch). The vote (NULL: none) is for after the step.
 * Collective. */
qg_status qg_train_step(qg_trainer *t, int64_t step, int64_t cursor, const qg_stop_vote *vote,
                        qg_step_result *result);

/* In place of a step that is left out: asks only what a step asks on its way. result: of the step when it was
 * tried; skipped, and without a trace. Collective. */
qg_status qg_train_excluded_step(qg_trainer *t, const qg_stop_vote *vote, qg_step_result *result);

/* Mean loss over data.valid (the first train.validate_sequences, or all), in pieces of a training batch.
 * Collective. */
qg_status qg_validate(qg_trainer *t, const qg_validation_observer *observer, qg_validation_result *result);

#endif
