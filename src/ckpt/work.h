/* The writing of one rank, here or beside training in a helper thread. */
#ifndef QG_CKPT_WORK_H
#define QG_CKPT_WORK_H

#include <pthread.h>
#include <stdatomic.h>

#include "ckpt/writer.h"

typedef struct {
  qg_ckpt_writer writer;
  pthread_t thread;
  bool beside; /* a thread is to be waited for */
  atomic_bool done;
  qg_status status;
  char message[2048]; /* messages are kept per thread, this one travels */
} qg_ckpt_work;

/* Writes before it returns. */
void qg_ckpt_work_here(qg_ckpt_work *work);
/* Writes in a thread; pieces must be in memory that nobody changes. Without a thread to be had it writes
 * here. */
void qg_ckpt_work_beside(qg_ckpt_work *work);
bool qg_ckpt_work_is_done(const qg_ckpt_work *work);
/* Waits for the end and gives the result with its message. */
qg_status qg_ckpt_work_wait(qg_ckpt_work *work);

#endif
