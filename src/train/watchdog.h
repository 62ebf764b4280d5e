/* A thread beside training that ends a job which hangs: when nothing has been finished for too long, every
 * rank says where it is, and a rank that says nothing is the one to look at. */
#ifndef QG_TRAIN_WATCHDOG_H
#define QG_TRAIN_WATCHDOG_H

#include <stdint.h>

#include "qgalore/par.h"
#include "qgalore/timer.h"

typedef struct qg_watchdog qg_watchdog;

/* Watches from here on. limit: seconds; 0 watches nothing and leaves *out NULL. `timers` and `grid` must
 * outlive it. Local. */
qg_status qg_watchdog_start(double limit, const qg_timers *timers, const qg_grid *grid, qg_watchdog **out);
/* Something was finished; `step`: steps done. NULL is fine. Local. */
void qg_watchdog_feed(qg_watchdog *watchdog, int64_t step);
/* NULL is fine. Local. */
void qg_watchdog_stop(qg_watchdog *watchdog);

#endif
