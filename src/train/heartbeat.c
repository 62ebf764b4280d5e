#include "train/heartbeat.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "qgalore/base.h"
#include "train/watchdog.h"

struct qg_heartbeat {
  const qg_log *log;
  double interval;
  const qg_timers *timers;
  const qg_model_shape *shape;
  pthread_t thread;
  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t changed;
  double fed, next; /* qg_now(): of the last news, and when to speak */
  int64_t step;     /* done; -1: the run has not begun */
  bool stopping;
};

double qg_heartbeat_interval(const qg_log *log)
{
  return log->terminal ? 1.0 : 30.0;
}

static void speak(const qg_heartbeat *h)
{
  char place[160], seconds[32], line[256];
  qg_watchdog_describe(h->timers, h->shape, place, sizeof place);
  qg_format_seconds(seconds, sizeof seconds, qg_now() - h->fed);
  if (h->step < 0)
    snprintf(line, sizeof line, "          starting: weights are made or read, since %s", seconds);
  else
    snprintf(line, sizeof line, "%9lld is under way since %s: %s", (long long)h->step + 1, seconds, place);
  if (h->log->terminal) qg_log_terminal(h->log, "\r\033[K%s", line);
  else
    qg_log_info(h->log, "%s", line);
}

static void *beat(void *argument)
{
  qg_heartbeat *h = argument;
  pthread_mutex_lock(&h->lock);
  while (!h->stopping) {
    double whole, part = modf(h->next, &whole);
    struct timespec deadline = {(time_t)whole, (long)(1e9 * part)};
    int result = pthread_cond_timedwait(&h->changed, &h->lock, &deadline);
    if (result != ETIMEDOUT || h->stopping || qg_now() < h->next) continue;
    speak(h);
    h->next = qg_now() + h->interval;
  }
  pthread_mutex_unlock(&h->lock);
  return NULL;
}

/* Deadlines are on the clock of qg_now. */
static void create_condition(pthread_cond_t *condition)
{
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(condition, &attributes);
  pthread_condattr_destroy(&attributes);
}

/* Signals are for the thread that trains. */
static int create_thread(qg_heartbeat *h)
{
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&h->thread, NULL, beat, h);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

static void release(qg_heartbeat *h)
{
  pthread_cond_destroy(&h->changed);
  pthread_mutex_destroy(&h->lock);
  free(h);
}

qg_status qg_heartbeat_start(const qg_log *log, double interval, const qg_timers *timers,
                             const qg_model_shape *shape, qg_heartbeat **out)
{
  qg_heartbeat *h;
  *out = NULL;
  QG_TRY(qg_calloc(1, sizeof *h, "the heartbeat", (void **)&h));
  h->log = log;
  h->interval = interval;
  h->timers = timers;
  h->shape = shape;
  h->fed = qg_now();
  h->next = h->fed + interval;
  h->step = -1;
  pthread_mutex_init(&h->lock, NULL);
  create_condition(&h->changed);
  int error = create_thread(h);
  if (error) {
    release(h);
    return QG_FAIL(QG_ERR_RESOURCE, "no thread for the heartbeat: %s", strerror(error));
  }
  *out = h;
  return QG_OK;
}

/* The thread is not woken: it finds the new time when the old one has come. */
void qg_heartbeat_feed(qg_heartbeat *h, int64_t step)
{
  if (!h) return;
  pthread_mutex_lock(&h->lock);
  h->fed = qg_now();
  h->next = h->fed + h->interval;
  h->step = step;
  pthread_mutex_unlock(&h->lock);
}

void qg_heartbeat_stop(qg_heartbeat *h)
{
  if (!h) return;
  pthread_mutex_lock(&h->lock);
  h->stopping = true;
  pthread_cond_signal(&h->changed);
  pthread_mutex_unlock(&h->lock);
  pthread_join(h->thread, NULL);
  release(h);
}
