#include "ckpt/background_task.h"

#include <signal.h>
#include <stdio.h>

#include "qgalore/base.h"

static void *run(void *argument)
{
  qg_ckpt_background_task *task = argument;
  double begun = qg_now();
  task->status = task->function(task->context);
  task->seconds = qg_now() - begun;
  if (task->status != QG_OK) snprintf(task->message, sizeof task->message, "%s", qg_error_message());
  atomic_store_explicit(&task->done, true, memory_order_release);
  return NULL;
}

/* Signals are for the thread that trains: the background thread starts with all of them blocked. */
static bool start_thread(qg_ckpt_background_task *task)
{
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool created = pthread_create(&task->thread, NULL, run, task) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return created;
}

void qg_ckpt_task_start(qg_ckpt_background_task *task, qg_ckpt_task_function function, void *context,
                        bool background)
{
  task->function = function;
  task->context = context;
  atomic_store_explicit(&task->done, false, memory_order_relaxed);
  task->in_thread = background && start_thread(task);
  if (!task->in_thread) run(task);
}

bool qg_ckpt_task_is_done(const qg_ckpt_background_task *task)
{
  return atomic_load_explicit(&task->done, memory_order_acquire);
}

qg_status qg_ckpt_task_wait(qg_ckpt_background_task *task)
{
  if (task->in_thread) pthread_join(task->thread, NULL);
  task->in_thread = false;
  return task->status == QG_OK ? QG_OK : qg_error_adopt(task->status, task->message);
}
