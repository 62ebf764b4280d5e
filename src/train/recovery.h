/* Recovery from bad steps: those whose loss or gradient is not finite, and those whose loss is a spike. The
 * decisions follow from reduced numbers, so they are the same on all ranks. */
#ifndef QG_TRAIN_RECOVERY_H
#define QG_TRAIN_RECOVERY_H

#include "train/run.h"

/* Reads the recent losses, which an earlier attempt may have written. Collective. */
qg_status qg_recovery_begin(qg_run *run);

/* Takes the next step, or leaves it out if it is excluded. *seconds: what it took. Collective. */
qg_status qg_recovery_take_step(qg_run *run, qg_step_result *result, double *seconds);

/* Judges a step that was just added to the state; *rolled_back: the run has gone back to an earlier step.
 * QG_ERR_NUMERICAL if going back does not help. Collective.
 * - Its loss is a spike: the run goes back to the newest checkpoint and leaves out the data since then.
 * - It made no update but parts of it had reached the state (run.partial_step): the run goes back to the
 *   newest checkpoint or to its beginning, and repeats the steps since then without it. */
qg_status qg_recovery_check(qg_run *run, const qg_step_result *result, double seconds, bool *rolled_back);

/* Counts a step that stays. QG_ERR_NUMERICAL after run.max_bad_steps in a row that made no update. */
qg_status qg_recovery_count(qg_run *run, const qg_step_result *result);

#endif
