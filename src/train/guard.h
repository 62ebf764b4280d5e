/* The numerical guard: steps that are not finite, and losses that spike. Its decisions follow from reduced
 * numbers, so they are the same on all ranks. */
#ifndef QG_TRAIN_GUARD_H
#define QG_TRAIN_GUARD_H

#include "train/run.h"
#include "train/step.h"

/* Gets the recent losses back that an earlier attempt had seen. Collective. */
qg_status qg_guard_begin(qg_run *run);

/* If the loss is a spike, the run goes back to its newest checkpoint and leaves the data since then out;
 * *back says that it did, and that the step has not been. QG_ERR_NUMERICAL if that does not help. Collective.
 */
qg_status qg_guard_spike(qg_run *run, const qg_step_result *result, bool *back);

/* Counts a step. QG_ERR_NUMERICAL after run.max_bad_steps skipped ones in a row. */
qg_status qg_guard_count(qg_run *run, const qg_step_result *result);

#endif
