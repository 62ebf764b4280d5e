#include "train/watchdog.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "qgalore/base.h"

/* The limits of the ranks end at slightly different moments, and the launcher kills the other ranks when the
 * first one exits: each rank leaves the others time to report. */
enum { SECONDS_FOR_OTHER_REPORTS = 3 };

struct qg_watchdog {
  double limit;
  const qg_timers *timers;
  const qg_model_shape *shape;
  const qg_grid *grid;
  pthread_t thread;
  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t changed;
  double fed; /* qg_now() */
  int64_t step;
  bool stopping;
  void (*say)(void *context, const char *reason); /* NULL: nothing */
  void *context;
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
static void report(const qg_watchdog *w)
{
  char place[160], seconds[32], line[512];
  qg_watchdog_describe(w->timers, w->shape, place, sizeof place);
  int length = snprintf(line, sizeof line,
                        "watchdog: rank %d on %s is %s; nothing was finished for %s, %lld steps are done\n",
                        w->grid->rank, w->grid->host, place,
                        qg_format_seconds(seconds, sizeof seconds, qg_now() - w->fed), (long long)w->step);
  if (write(STDERR_FILENO, line, (size_t)length) < 0) return;
}

static void say_last_words(const qg_watchdog *w)
{
  char seconds[32], reason[128];
  snprintf(reason, sizeof reason, "nothing was finished for %s (run.watchdog)",
           qg_format_seconds(seconds, sizeof seconds, qg_now() - w->fed));
  if (w->say) w->say(w->context, reason);
}

/* MPI cannot end the job from here, because the training thread may hang inside MPI. The launcher ends the
 * other ranks when a rank exits with an error. */
static void end_job(const qg_watchdog *w)
{
  report(w);
  say_last_words(w);
  sleep(SECONDS_FOR_OTHER_REPORTS);
  _exit(QG_ERR_HANG);
}

static struct timespec deadline_of(const qg_watchdog *w)
{
  double whole, part = modf(w->fed + w->limit, &whole);
  return (struct timespec){(time_t)whole, (long)(1e9 * part)};
}

static void *watch(void *argument)
{
  qg_watchdog *w = argument;
  pthread_mutex_lock(&w->lock);
  while (!w->stopping) {
    struct timespec deadline = deadline_of(w);
    int result = pthread_cond_timedwait(&w->changed, &w->lock, &deadline);
    if (result == ETIMEDOUT && !w->stopping && qg_now() >= w->fed + w->limit) end_job(w);
  }
  pthread_mutex_unlock(&w->lock);
  return NULL;
}

/* Signals are for the thread that trains. */
static int create_thread(qg_watchdog *w)
{
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&w->thread, NULL, watch, w);
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

static void release(qg_watchdog *w)
{
  pthread_cond_destroy(&w->changed);
  pthread_mutex_destroy(&w->lock);
  free(w);
}

qg_status qg_watchdog_start(double limit, const qg_timers *timers, const qg_model_shape *shape,
                            const qg_grid *grid, qg_watchdog **out)
{
  *out = NULL;
  if (limit <= 0.0) return QG_OK;
  qg_watchdog *w;
  QG_TRY(qg_calloc(1, sizeof *w, "the watchdog", (void **)&w));
  w->limit = limit;
  w->timers = timers;
  w->shape = shape;
  w->grid = grid;
  w->fed = qg_now();
  pthread_mutex_init(&w->lock, NULL);
  create_condition(&w->changed);
  int error = create_thread(w);
  if (error) {
    release(w);
    return QG_FAIL(QG_ERR_RESOURCE, "no thread for run.watchdog: %s", strerror(error));
  }
  *out = w;
  return QG_OK;
}

void qg_watchdog_set_last_words(qg_watchdog *w, void (*say)(void *context, const char *reason), void *context)
{
  if (!w) return;
  pthread_mutex_lock(&w->lock);
  w->say = say;
  w->context = context;
  pthread_mutex_unlock(&w->lock);
}

void qg_watchdog_feed(qg_watchdog *w, int64_t step)
{
  if (!w) return;
  pthread_mutex_lock(&w->lock);
  w->fed = qg_now();
  w->step = step;
  pthread_mutex_unlock(&w->lock);
}

void qg_watchdog_stop(qg_watchdog *w)
{
  if (!w) return;
  pthread_mutex_lock(&w->lock);
  w->stopping = true;
  pthread_cond_signal(&w->changed);
  pthread_mutex_unlock(&w->lock);
  pthread_join(w->thread, NULL);
  release(w);
}
