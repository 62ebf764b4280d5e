#include "train/watchdog.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "qgalore/base.h"
#include "train/idle_timer.h"

/* The limits of the ranks end at slightly different moments, and the launcher kills the other ranks when the
 * first one exits: each rank leaves the others time to report. */
enum { SECONDS_FOR_OTHER_REPORTS = 3 };

struct qg_watchdog {
  qg_watchdog_request use;
  qg_idle_timer *timer;
};

static bool goes_by_micro_batch(qg_phase phase)
{
  return phase == QG_PHASE_FORWARD || phase == QG_PHASE_BACKWARD || phase == QG_PHASE_LOSS ||
         phase == QG_PHASE_WAIT;
}

void qg_watchdog_describe(const qg_timers *timers, const qg_model_shape *shape, char *text, size_t size)
{
  int running = timers->running;
  qg_phase phase = (qg_phase)(running - 1);
  if (running == 0) snprintf(text, size, "between phases");
  else if (goes_by_micro_batch(phase))
    snprintf(text, size, "in %s, micro-batch %d, %s %s", qg_phase_name(phase), timers->micro_batch,
             phase == QG_PHASE_WAIT ? "after" : "at", qg_model_param(shape, timers->parameter).name);
  else
    snprintf(text, size, "in %s", qg_phase_name(phase));
}

/* One write, so that the lines of ranks do not mix; no stdio lock, which the hanging thread may hold. */
static void report(const qg_watchdog_request *w, const qg_idle *idle)
{
  char place[160], seconds[32], line[512];
  qg_watchdog_describe(w->timers, w->shape, place, sizeof place);
  int length = snprintf(line, sizeof line,
                        "watchdog: rank %d on %s is %s; nothing was finished for %s, %lld steps are done\n",
                        w->grid->rank, w->grid->host, place,
                        qg_format_seconds(seconds, sizeof seconds, idle->seconds), (long long)idle->step);
  if (write(STDERR_FILENO, line, (size_t)length) < 0) return;
}

static void say_last_words(const qg_watchdog_request *w, const qg_idle *idle)
{
  char seconds[32], reason[128];
  snprintf(reason, sizeof reason, "nothing was finished for %s (run.watchdog)",
           qg_format_seconds(seconds, sizeof seconds, idle->seconds));
  if (w->last_words) w->last_words(w->context, reason);
}

/* MPI cannot end the job from here, because the training thread may hang inside MPI. The launcher ends the
 * other ranks when a rank exits with an error. */
static void end_job(void *watchdog, const qg_idle *idle)
{
  const qg_watchdog_request *w = &((qg_watchdog *)watchdog)->use;
  report(w, idle);
  say_last_words(w, idle);
  sleep(SECONDS_FOR_OTHER_REPORTS);
  _exit(QG_ERR_HANG);
}

qg_status qg_watchdog_start(const qg_watchdog_request *request, qg_watchdog **out)
{
  *out = NULL;
  if (request->limit <= 0.0) return QG_OK;
  qg_watchdog *w;
  QG_TRY(qg_calloc(1, sizeof *w, "the watchdog", (void **)&w));
  w->use = *request;
  qg_idle_timer_request timer = {.limit = request->limit, .of = "run.watchdog", .act = end_job, .context = w};
  qg_status status = qg_idle_timer_start(&timer, &w->timer);
  if (status == QG_OK) *out = w;
  else
    free(w);
  return status;
}

void qg_watchdog_feed(qg_watchdog *w, int64_t step)
{
  if (w) qg_idle_timer_feed(w->timer, step);
}

void qg_watchdog_stop(qg_watchdog *w)
{
  if (!w) return;
  qg_idle_timer_stop(w->timer);
  free(w);
}
