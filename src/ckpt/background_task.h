/* A task in a background thread, or at once in the calling one. */
#ifndef QG_CKPT_BACKGROUND_TASK_H
#define QG_CKPT_BACKGROUND_TASK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "qgalore/base/status.h"

typedef qg_status (*qg_ckpt_task_function)(void *context);

typedef struct {
  qg_ckpt_task_function function;
  void *context;
  pthread_t thread;
  bool in_thread; /* a thread is to be waited for */
  atomic_bool done;
  double seconds; /* that the task took */
  qg_status status;
  char message[2048]; /* messages are kept per thread, this one travels */
} qg_ckpt_background_task;

/* Runs a function in a thread if `background`, else before it returns, as also where no thread can be
 * created. What was started before must have been waited for. */
void qg_ckpt_task_start(qg_ckpt_background_task *task, qg_ckpt_task_function function, void *context,
                        bool background);
bool qg_ckpt_task_is_done(const qg_ckpt_background_task *task);
/* Waits for the end and gives the result with its message; again, if asked again. */
qg_status qg_ckpt_task_wait(qg_ckpt_background_task *task);

#endif
