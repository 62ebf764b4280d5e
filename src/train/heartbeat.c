#include "train/heartbeat.h"

#include <stdlib.h>

#include "qgalore/base.h"
#include "train/idle_timer.h"
#include "train/watchdog.h"

enum { NOT_BEGUN = -1 }; /* the step of a run that is starting */

struct qg_heartbeat {
  const qg_log *log;
  const qg_timers *timers;
  const qg_model_shape *shape;
  qg_idle_timer *timer;
};

double qg_heartbeat_interval(const qg_log *log)
{
  return log->terminal ? 1.0 : 30.0;
}

static void speak(void *heartbeat, const qg_idle *idle)
{
  const qg_heartbeat *h = heartbeat;
  char place[160], seconds[32], line[256];
  qg_watchdog_describe(h->timers, h->shape, place, sizeof place);
  qg_format_seconds(seconds, sizeof seconds, idle->seconds);
  if (idle->step == NOT_BEGUN)
    snprintf(line, sizeof line, "          starting: weights are made or read, since %s", seconds);
  else
    snprintf(line, sizeof line, "%9lld is under way since %s: %s", (long long)idle->step + 1, seconds, place);
  if (h->log->terminal) qg_log_terminal(h->log, "\r\033[K%s", line);
  else
    qg_log_info(h->log, "%s", line);
}

qg_status qg_heartbeat_start(const qg_log *log, double interval, const qg_timers *timers,
                             const qg_model_shape *shape, qg_heartbeat **out)
{
  qg_heartbeat *h;
  *out = NULL;
  QG_TRY(qg_calloc(1, sizeof *h, "the heartbeat", (void **)&h));
  *h = (qg_heartbeat){.log = log, .timers = timers, .shape = shape};
  qg_idle_timer_request timer = {
      .limit = interval, .step = NOT_BEGUN, .of = "the heartbeat", .act = speak, .context = h};
  qg_status status = qg_idle_timer_start(&timer, &h->timer);
  if (status == QG_OK) *out = h;
  else
    free(h);
  return status;
}

void qg_heartbeat_feed(qg_heartbeat *h, int64_t step)
{
  if (h) qg_idle_timer_feed(h->timer, step);
}

void qg_heartbeat_stop(qg_heartbeat *h)
{
  if (!h) return;
  qg_idle_timer_stop(h->timer);
  free(h);
}
