#include "ckpt/work.h"

#include <signal.h>
#include <stdio.h>

void qg_ckpt_work_here(qg_ckpt_work *work)
{
  work->status = qg_ckpt_write(&work->writer);
  if (work->status != QG_OK) snprintf(work->message, sizeof work->message, "%s", qg_error_message());
  atomic_store_explicit(&work->done, true, memory_order_release);
}

static void *run(void *work)
{
  qg_ckpt_work_here(work);
  return NULL;
}

/* Signals are for the thread that trains: the helper is born with all of them blocked. */
void qg_ckpt_work_beside(qg_ckpt_work *work)
{
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  work->beside = pthread_create(&work->thread, NULL, run, work) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!work->beside) qg_ckpt_work_here(work);
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
