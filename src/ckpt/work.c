#include "ckpt/work.h"

#include <signal.h>
#include <stdio.h>

#include "qgalore/base.h"

static void *run(void *argument)
{
  qg_ckpt_work *work = argument;
  double begun = qg_now();
  work->status = work->task(work->context);
  work->seconds = qg_now() - begun;
  if (work->status != QG_OK) snprintf(work->message, sizeof work->message, "%s", qg_error_message());
  atomic_store_explicit(&work->done, true, memory_order_release);
  return NULL;
}

/* Signals are for the thread that trains: the helper is born with all of them blocked. */
static bool run_beside(qg_ckpt_work *work)
{
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool created = pthread_create(&work->thread, NULL, run, work) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return created;
}

void qg_ckpt_work_start(qg_ckpt_work *work, qg_ckpt_task task, void *context, bool beside)
{
  work->task = task;
  work->context = context;
  atomic_store_explicit(&work->done, false, memory_order_relaxed);
  work->beside = beside && run_beside(work);
  if (!work->beside) run(work);
}

bool qg_ckpt_work_is_done(const qg_ckpt_work *work)
{
  return atomic_load_explicit(&work->done, memory_order_acquire);
}

qg_status qg_ckpt_work_wait(qg_ckpt_work *work)
{
  if (work->beside) pthread_join(work->thread, NULL);
  work->beside = false;
  return work->status == QG_OK ? QG_OK : qg_error_adopt(work->status, work->message);
}
