/* A thread that acts when nothing was told to it for a time. It does not call MPI, and other threads may
 * hang. */
#ifndef QG_TRAIN_IDLE_TIMER_H
#define QG_TRAIN_IDLE_TIMER_H

#include <stdint.h>

#include "qgalore/base/status.h"

typedef struct qg_idle_timer qg_idle_timer;

/* What the action hears: the seconds since the timer was fed, and the step that it was fed last. */
typedef struct {
  double seconds;
  int64_t step;
} qg_idle;

typedef struct {
  double limit;   /* seconds without being fed, before the action and between two of them */
  int64_t step;   /* until it is fed */
  const char *of; /* whose thread it is, for messages */
  void (*act)(void *context, const qg_idle *idle);
  void *context;
} qg_idle_timer_request;

/* Starts the thread, in which act is called. QG_ERR_RESOURCE. Local. */
qg_status qg_idle_timer_start(const qg_idle_timer_request *request, qg_idle_timer **out);
/* Something was finished; `step`: steps done. NULL is fine. Local. */
void qg_idle_timer_feed(qg_idle_timer *timer, int64_t step);
/* Waits for an action under way. NULL is fine. Local. */
void qg_idle_timer_stop(qg_idle_timer *timer);

#endif
