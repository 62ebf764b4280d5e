/* A thread that ends a job which hangs. When nothing has been finished for too long, every rank reports where
 * it is; a rank that reports nothing is the one to look at. */
#ifndef QG_TRAIN_WATCHDOG_H
#define QG_TRAIN_WATCHDOG_H

#include <stddef.h>
#include <stdint.h>

#include "qgalore/base/timer.h"
#include "qgalore/model.h"
#include "qgalore/par.h"

typedef struct qg_watchdog qg_watchdog;

/* Starts the thread. limit: seconds; 0 starts none and leaves *out NULL. timers, shape and grid must outlive
 * it; `shape` gives names to parameters. Local. */
qg_status qg_watchdog_start(double limit, const qg_timers *timers, const qg_model_shape *shape,
                            const qg_grid *grid, qg_watchdog **out);
/* Tells it that something was finished; `step`: steps done. NULL is fine. Local. */
void qg_watchdog_feed(qg_watchdog *watchdog, int64_t step);
/* Called with the reason before the watchdog ends the job, in its own thread: the others may hold any lock.
 * NULL is fine. Local. */
void qg_watchdog_set_last_words(qg_watchdog *watchdog, void (*say)(void *context, const char *reason),
                                void *context);
/* NULL is fine. Local. */
void qg_watchdog_stop(qg_watchdog *watchdog);

/* Where a rank is: phase, micro-batch, and the parameter that the model asked for last. Local. */
void qg_watchdog_describe(const qg_timers *timers, const qg_model_shape *shape, char *text, size_t size);

#endif
