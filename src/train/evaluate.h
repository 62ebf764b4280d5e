/* The loss of a model over a token file, from its weights alone. */
#ifndef QG_TRAIN_EVALUATE_H
#define QG_TRAIN_EVALUATE_H

#include "qgalore/data.h"
#include "train/pipeline.h"
#include "train/stop_vote.h"

typedef struct {
  double loss;          /* nats per token */
  double bits_per_byte; /* 0 if the file does not know its text bytes */
  int64_t tokens;
  bool cut_short; /* the observer wanted it: the other numbers are meaningless */
} qg_validation_result;

/* Sees the sum over ranks of the votes after each piece; false ends it there, and must do so on all ranks. */
typedef struct {
  qg_stop_vote vote;
  bool (*go_on)(void *context, double votes);
  void *context;
} qg_validation_observer;

/* Mean loss over the first `sequences` sequences of a file, or all (0), in pieces of micro_batches
 * micro-batches. `tokens` is read on the first and the last stage, NULL on others. Collective. */
qg_status qg_evaluate(qg_pipeline *p, qg_tokens *tokens, int64_t sequences,
                      const qg_validation_observer *observer, qg_validation_result *result);

#endif
