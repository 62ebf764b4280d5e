/* The numerical guard: steps that are not finite, and losses that spike. Its decisions follow from reduced
 * numbers, so they are the same on all ranks. */
#ifndef QG_TRAIN_GUARD_H
#define QG_TRAIN_GUARD_H

#include "train/run.h"
#include "train/step.h"

/* Gets the recent losses back that an earlier attempt had seen. Collective. */
qg_status qg_guard_begin(qg_run *run);

/* Takes the next step, or leaves it out. *seconds: what it took. Collective. */
qg_status qg_guard_step(qg_run *run, qg_step_result *result, double *seconds);

/* Looks at a step that was just counted in the state; *back: the run has gone back, and the step has not
 * been.
 * - Its loss is a spike: back to the newest checkpoint, and the data since then are left out.
 * - It was skipped, but not without a trace (run.nonfinite_partial): back to the newest checkpoint or to the
 *   beginning, and the steps since then are repeated without it.
 * QG_ERR_NUMERICAL if that does not help. Collective. */
qg_status qg_guard_judge(qg_run *run, const qg_step_result *result, double seconds, bool *back);

/* Counts a step. QG_ERR_NUMERICAL after run.max_bad_steps skipped ones in a row. */
qg_status qg_guard_count(qg_run *run, const qg_step_result *result);

#endif
