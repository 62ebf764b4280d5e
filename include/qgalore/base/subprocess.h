/* A child process for what may crash: libraries that read a file of unknown origin. */
#ifndef QGALORE_BASE_SUBPROCESS_H
#define QGALORE_BASE_SUBPROCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "qgalore/base/status.h"

enum { QG_SUBPROCESS_RESULT = 2048 }; /* bytes */

/* `given` and `result` are plain bytes; of all that the task does, only `result` outlives the child. */
typedef qg_status (*qg_subprocess_task)(const void *given, void *result);

/* Runs a task in a child process and waits for it: its status, message and `result` (at most QG_SUBPROCESS_RESULT).
 * If it crashes or takes more than 10 s of CPU time, *answered is false and nothing else is said. Where no process can
 * be started (strict accounting of memory, limits), the task runs in this process: a restart must not fail for that.
 * Local. */
qg_status qg_subprocess_run(qg_subprocess_task task, const void *given, size_t given_bytes, void *result,
                            size_t result_bytes, bool *answered);

#endif
