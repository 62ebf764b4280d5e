/* What training has done so far: everything that is neither weights nor optimizer state. */
#ifndef QG_TRAIN_PROGRESS_STATE_H
#define QG_TRAIN_PROGRESS_STATE_H

#include <stdint.h>

typedef struct {
  int64_t step; /* steps done */
  int64_t tokens;
  int64_t cursor;   /* sequences consumed */
  double elapsed;   /* seconds of training over all attempts */
  double loss;      /* of the last step */
  double grad_norm; /* of the last step that was not skipped */
  char *history;    /* one line per attempt; owned by the run */
} qg_train_state;

#endif
