/* Fault injection: points where tests kill the process to see that what is on disk survives, or corrupt something.
 *
 * The environment variable QGALORE_FAULT names one point, "checkpoint.data", or its n-th passage,
 * "checkpoint.data:3"; or, for faults that are there again when a run comes by again, the numbers at which it
 * goes wrong, "gradient@7,9". Without it a point costs one getenv. */
#ifndef QGALORE_BASE_FAULT_H
#define QGALORE_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

/* Whether QGALORE_FAULT selects this passage of `point`, for faults that do not kill. Local. */
bool qg_fault_is_injected(const char *point);

/* Whether QGALORE_FAULT lists `number`, as of a step, for `point`. Local. */
bool qg_fault_is_injected_at(const char *point, int64_t number);

/* Kills this process with SIGKILL if QGALORE_FAULT selects this passage of `point`. Local. */
void qg_fault(const char *point);

#endif
