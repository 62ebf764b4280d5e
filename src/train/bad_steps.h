/* What a run remembers about bad steps: recent losses, which tell a loss spike, and steps that are excluded
 * when the run repeats its steps from a checkpoint. All ranks hold the same values, because they follow from
 * reduced numbers. */
#ifndef QG_TRAIN_BAD_STEPS_H
#define QG_TRAIN_BAD_STEPS_H

#include "train/step.h"

enum {
  QG_LOSS_WINDOW = 32,      /* losses of the mean; run.spike_factor's documentation says so */
  QG_LOSS_WINDOW_MIN = 8,   /* fewer give no mean to trust */
  QG_EXCLUDED_STEPS_MAX = 8 /* without a newer checkpoint, before the run gives up */
};

/* The losses of the last steps, oldest first. */
typedef struct {
  int count;
  double loss[QG_LOSS_WINDOW];
} qg_loss_window;

/* Adds a loss, unless it is not finite. */
void qg_loss_window_add(qg_loss_window *window, double loss);

/* A spike: loss > factor x mean of the window. Never with factor 0, or under QG_LOSS_WINDOW_MIN losses. Pure.
 */
bool qg_loss_is_spike(const qg_loss_window *window, double factor, double loss);

/* A step that was not finite after parts of it had reached the state. It is known by its number and its data:
 * after a loss spike a run takes steps of the same numbers with other data. */
typedef struct {
  int64_t step, cursor;  /* before it */
  double seconds;        /* that the attempt took */
  qg_step_result result; /* of the attempt */
} qg_excluded_step;

typedef struct {
  int count;
  qg_excluded_step steps[QG_EXCLUDED_STEPS_MAX];
} qg_excluded_steps;

/* There must be room. */
void qg_excluded_steps_add(qg_excluded_steps *list, const qg_excluded_step *step);

/* The entry of this step with this data, or NULL. */
const qg_excluded_step *qg_excluded_steps_find(const qg_excluded_steps *list, int64_t step, int64_t cursor);

/* A checkpoint at `step` holds what the steps before it have done: they are never repeated. */
void qg_excluded_steps_forget(qg_excluded_steps *list, int64_t step);

typedef struct {
  qg_loss_window window;
  qg_excluded_steps excluded; /* since the newest checkpoint */
  bool validation;            /* the last one was not finite */
  int in_a_row;               /* steps without an update, up to the last one */
  int rollbacks;              /* for loss spikes, since the newest checkpoint */
  /* The last place where data are left out: after step skip_step training goes on at sequence skip_cursor;
   * -1: nowhere. */
  int64_t skip_step, skip_cursor;
} qg_bad_steps;

#endif
