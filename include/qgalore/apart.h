/* A process of its own for what may crash: libraries that read somebody's file. */
#ifndef QGALORE_APART_H
#define QGALORE_APART_H

#include <stdbool.h>
#include <stddef.h>

#include "qgalore/base/status.h"

enum { QG_APART_BYTES = 2048 };

/* `given` and `result` are plain bytes, of which only these survive the process. */
typedef qg_status (*qg_apart_task)(const void *given, void *result);

/* Runs a task in a child and waits for it: its status, message and `result` (at most QG_APART_BYTES). If it crashes or takes more
 * than 10 s of CPU time, *answered is false and nothing else is said. Where no process can be had (strict accounting of memory, limits),
 * the task is done here: a restart must not fail for that. Local. */
qg_status qg_run_apart(qg_apart_task task, const void *given, size_t given_bytes, void *result, size_t result_bytes,
                       bool *answered);

#endif
