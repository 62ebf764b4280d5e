/* Steps that are left out when a run comes by again, because parts of them would reach the state before they
 * turn out not to be finite. */
#ifndef QG_TRAIN_EXCLUDED_STEPS_H
#define QG_TRAIN_EXCLUDED_STEPS_H

#include "train/step.h"

/* Ways back without a newer checkpoint before the run gives up. */
enum { QG_EXCLUDED_STEPS_MAX = 8 };

/* Known by its number and its data: a spike sends a run over the same numbers with other data. */
typedef struct {
  int64_t step, cursor;  /* before it */
  double seconds;        /* of the try */
  qg_step_result result; /* of the try */
} qg_excluded_step;

/* A value: the same on all ranks. */
typedef struct {
  int count;
  qg_excluded_step steps[QG_EXCLUDED_STEPS_MAX];
} qg_excluded_steps;

/* There must be room. */
void qg_excluded_steps_add(qg_excluded_steps *list, const qg_excluded_step *step);

/* The entry of this step with this data, or NULL. */
const qg_excluded_step *qg_excluded_steps_find(const qg_excluded_steps *list, int64_t step, int64_t cursor);

/* A checkpoint at `step` holds what the steps before it have done: nobody comes by them again. */
void qg_excluded_steps_forget(qg_excluded_steps *list, int64_t step);

#endif
