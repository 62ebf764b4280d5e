/* One optimizer step and one pass over the validation set. */
#ifndef QG_TRAIN_STEP_H
#define QG_TRAIN_STEP_H

#include "train/trainer.h"

/* Behind the sums of squares in qg_trainer.reduce. */
enum {
  QG_REDUCE_LOSS,
  QG_REDUCE_TARGETS,
  QG_REDUCE_REQUEST,
  QG_REDUCE_REFRESHES,
  QG_REDUCE_FAILED,
  QG_REDUCE_EXTRA
};

typedef struct {
  double loss;      /* nats per token of the step's batch, before the update */
  double grad_norm; /* before clipping */
  double lr;
  int64_t tokens;                      /* targets in the batch */
  int64_t refreshes, failed_refreshes; /* over all ranks */
  const qg_refresh_record *records;    /* [refreshes], in parameter order; the trainer's */
  bool skipped;                        /* loss or gradient was not finite: nothing was changed */
  double request;                      /* sum over ranks of what each wished: see stop.h */
} qg_step_result;

/* Trains on the sequences [cursor, cursor + global_batch). `request` is this rank's wish for after the step,
 * carried by the reduction that the step needs anyway. Collective. */
qg_status qg_train_step(qg_trainer *t, int64_t step, int64_t cursor, double request, qg_step_result *result);

typedef struct {
  double loss;          /* nats per token */
  double bits_per_byte; /* 0 if the file does not know its text bytes */
  int64_t tokens;
} qg_validation_result;

/* Mean loss over data.valid (the first train.validate_sequences, or all). Collective. */
qg_status qg_validate(qg_trainer *t, qg_validation_result *result);

#endif
