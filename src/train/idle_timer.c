#include "train/idle_timer.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "qgalore/base.h"

struct qg_idle_timer {
  qg_idle_timer_request use;
  pthread_t thread;
  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t changed;
  double fed, next; /* qg_now(): when it was fed, and when to act */
  int64_t step;
  bool stopping;
};

static struct timespec time_of(double seconds)
{
  double whole, part = modf(seconds, &whole);
  return (struct timespec){(time_t)whole, (long)(1e9 * part)};
}

static void *watch(void *argument)
{
  qg_idle_timer *t = argument;
  pthread_mutex_lock(&t->lock);
  while (!t->stopping) {
    struct timespec deadline = time_of(t->next);
    int result = pthread_cond_timedwait(&t->changed, &t->lock, &deadline);
    if (result != ETIMEDOUT || t->stopping || qg_now() < t->next) continue;
    qg_idle idle = {qg_now() - t->fed, t->step};
    t->use.act(t->use.context, &idle);
    t->next = qg_now() + t->use.limit;
  }
  pthread_mutex_unlock(&t->lock);
  return NULL;
}

/* Signals are for the thread that trains. */
static int create_thread(qg_idle_timer *t)
{
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&t->thread, NULL, watch, t);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
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

static void release(qg_idle_timer *t)
{
  pthread_cond_destroy(&t->changed);
  pthread_mutex_destroy(&t->lock);
  free(t);
}

qg_status qg_idle_timer_start(const qg_idle_timer_request *request, qg_idle_timer **out)
{
  qg_idle_timer *t;
  *out = NULL;
  QG_TRY(qg_calloc(1, sizeof *t, request->of, (void **)&t));
  t->use = *request;
  t->step = request->step;
  t->fed = qg_now();
  t->next = t->fed + request->limit;
  pthread_mutex_init(&t->lock, NULL);
  create_condition(&t->changed);
  int error = create_thread(t);
  if (error) {
    release(t);
    return QG_FAIL(QG_ERR_RESOURCE, "no thread for %s: %s", request->of, strerror(error));
  }
  *out = t;
  return QG_OK;
}

/* The thread is not woken: it finds the new time when the old one has come. */
void qg_idle_timer_feed(qg_idle_timer *t, int64_t step)
{
  if (!t) return;
  pthread_mutex_lock(&t->lock);
  t->fed = qg_now();
  t->next = t->fed + t->use.limit;
  t->step = step;
  pthread_mutex_unlock(&t->lock);
}

void qg_idle_timer_stop(qg_idle_timer *t)
{
  if (!t) return;
  pthread_mutex_lock(&t->lock);
  t->stopping = true;
  pthread_cond_signal(&t->changed);
  pthread_mutex_unlock(&t->lock);
  pthread_join(t->thread, NULL);
  release(t);
}
