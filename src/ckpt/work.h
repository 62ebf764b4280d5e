/* One rank's share of a phase of a save, here or beside training in a helper thread. */
#ifndef QG_CKPT_WORK_H
#define QG_CKPT_WORK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "qgalore/base/status.h"

typedef qg_status (*qg_ckpt_task)(void *context);

typedef struct {
  qg_ckpt_task task;
  void *context;
  pthread_t thread;
  bool beside; /* a thread is to be waited for */
  atomic_bool done;
  double seconds; /* that the task took */
  qg_status status;
  char message[2048]; /* messages are kept per thread, this one travels */
} qg_ckpt_work;

/* Does a task before it returns, or in a thread; without a thread to be had, here. What was started before
 * must have been waited for. */
void qg_ckpt_work_start(qg_ckpt_work *work, qg_ckpt_task task, void *context, bool beside);
bool qg_ckpt_work_is_done(const qg_ckpt_work *work);
/* Waits for the end and gives the result with its message; again, if asked again. */
qg_status qg_ckpt_work_wait(qg_ckpt_work *work);

#endif
