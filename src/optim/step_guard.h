/* Whether the gradients of the step at work are finite so far, and whether anything of it has reached the
 * state.
 *
 * Gradients are looked at where they lie: updates inside backward that follow one which is not finite do
 * nothing, without the host's waiting to hear of it (qgalore/numerics/finite_guard.h). */
#ifndef QG_OPTIM_STEP_GUARD_H
#define QG_OPTIM_STEP_GUARD_H

#include "qgalore/backend.h"
#include "qgalore/memory.h"

typedef struct {
  int count;    /* parameters */
  double *sums; /* device f64 [count + 1] and the finite guard: sums of squares, that of the incoming gradient
                   last */
  double *host_sums;    /* the same on the host */
  bool discarded;       /* the step's gradient is known not to be finite: nothing of it may reach any state */
  bool state_modified;  /* something of the step is known to have reached the state */
  int64_t noted;        /* sums that the guard was shown in this step */
  int64_t first_update; /* how many these were at the first update in backward; 0: there was none */
} qg_step_guard;

/* Takes its memory. Free with qg_step_guard_close. */
qg_status qg_step_guard_open(qg_step_guard *guard, qg_mem *mem, int count);
void qg_step_guard_close(qg_step_guard *guard);

qg_status qg_step_guard_begin(qg_step_guard *guard, qg_backend *be, bool discarded);
/* Where the device decides: of updates inside backward. */
const qg_finite_guard *qg_step_guard_device(const qg_step_guard *guard);
/* sums[index] = the sum of squares, which the device's guard notes. index == count: the gradient that enters
 * the stage. */
qg_status qg_step_guard_note(qg_step_guard *guard, qg_backend *be, qg_view gradient, int index);
/* The same without a note: of gradients that the host decides on. */
qg_status qg_step_guard_sum(qg_step_guard *guard, qg_backend *be, qg_view gradient, int index);
/* An update that asks the device's guard is queued, behind the gradient noted last. */
void qg_step_guard_updated(qg_step_guard *guard);
/* Waits for the device: host_sums, and what its guard has to say of this step. */
qg_status qg_step_guard_read(qg_step_guard *guard, qg_backend *be);

#endif
