/* Steps that are left out when a run comes by again, because parts of them would reach the state before they
 * turn out not to be finite. */
#ifndef QG_TRAIN_LEFT_OUT_H
#define QG_TRAIN_LEFT_OUT_H

#include "train/step.h"

/* Ways back without a newer checkpoint before the run gives up. */
enum { QG_LEFT_OUT_MAX = 8 };

/* Known by its number and its data: a spike sends a run over the same numbers with other data. */
typedef struct {
  int64_t step, cursor;  /* before it */
  double seconds;        /* of the try */
  qg_step_result result; /* of the try */
} qg_left_out;

/* A value: the same on all ranks. */
typedef struct {
  int count;
  qg_left_out steps[QG_LEFT_OUT_MAX];
} qg_left_out_list;

/* There must be room. */
void qg_left_out_add(qg_left_out_list *list, const qg_left_out *step);

/* The entry of this step with this data, or NULL. */
const qg_left_out *qg_left_out_find(const qg_left_out_list *list, int64_t step, int64_t cursor);

/* A checkpoint at `step` holds what the steps before it have done: nobody comes by them again. */
void qg_left_out_forget(qg_left_out_list *list, int64_t step);

#endif
