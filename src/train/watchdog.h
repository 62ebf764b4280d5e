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

/* All pointers must outlive the watchdog. */
typedef struct {
  double limit; /* seconds without anything finished; 0: no watchdog */
  const qg_timers *timers;
  const qg_model_shape *shape; /* gives names to parameters */
  const qg_grid *grid;
  /* Called with the reason before the job ends, in the watchdog's thread: others may hold any lock. NULL:
   * nothing. */
  void (*last_words)(void *context, const char *reason);
  void *context;
} qg_watchdog_request;

/* Starts the thread; without a limit *out is NULL. Local. */
qg_status qg_watchdog_start(const qg_watchdog_request *request, qg_watchdog **out);
/* Tells it that something was finished; `step`: steps done. NULL is fine. Local. */
void qg_watchdog_feed(qg_watchdog *watchdog, int64_t step);
/* NULL is fine. Local. */
void qg_watchdog_stop(qg_watchdog *watchdog);

/* Where a rank is: phase, micro-batch, and the parameter that the model asked for last. Local. */
void qg_watchdog_describe(const qg_timers *timers, const qg_model_shape *shape, char *text, size_t size);

#endif
