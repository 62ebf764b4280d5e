/* A thread beside training that ends a job which hangs: when nothing has been finished for too long, every
 * rank says where it is, and a rank that says nothing is the one to look at. */
#ifndef QG_TRAIN_WATCHDOG_H
#define QG_TRAIN_WATCHDOG_H

#include <stddef.h>
#include <stdint.h>

#include "qgalore/base/timer.h"
#include "qgalore/model.h"
#include "qgalore/par.h"

typedef struct qg_watchdog qg_watchdog;

/* Watches from here on. limit: seconds; 0 watches nothing and leaves *out NULL. The others must outlive it;
 * `shape` gives names to parameters. Local. */
qg_status qg_watchdog_start(double limit, const qg_timers *timers, const qg_model_shape *shape,
                            const qg_grid *grid, qg_watchdog **out);
/* Something was finished; `step`: steps done. NULL is fine. Local. */
void qg_watchdog_feed(qg_watchdog *watchdog, int64_t step);
/* NULL is fine. Local. */
void qg_watchdog_stop(qg_watchdog *watchdog);

/* Where a rank is: phase, micro-batch, and the parameter that the model asked for last. Local. */
void qg_watchdog_describe(const qg_timers *timers, const qg_model_shape *shape, char *text, size_t size);

#endif
