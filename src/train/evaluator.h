/* Everything that one rank holds to evaluate a model: weights and a stage that only goes forward. No
 * gradients, moments or projectors. */
#ifndef QG_TRAIN_EVALUATOR_H
#define QG_TRAIN_EVALUATOR_H

#include "qgalore/ckpt.h"
#include "train/evaluate.h"

typedef struct {
  const qg_config *config;
  qg_backend *be;
  qg_partition part;
  qg_param_list params;
  qg_weights *weights;
  qg_pipeline pipeline;
  qg_state_list state; /* of the weights */
  qg_timers timers;
} qg_evaluator;

/* Takes its memory from the ledger of `request`, dry or live; on a device that was reserved. Destroy it also
 * after a failure. It must stay where it is. Local. */
qg_status qg_evaluator_create(const qg_trainer_request *request, qg_evaluator *e);
void qg_evaluator_destroy(qg_evaluator *e);

/* Reads the weights of a checkpoint, of the same model and stored alike; the texts of *meta are NULL.
 * Collective. */
qg_status qg_evaluator_load(qg_evaluator *e, const char *path, qg_ckpt_meta *meta);

#endif
