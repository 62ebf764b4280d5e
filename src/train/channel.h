/* A one-way stream of messages of one size between two neighbouring stages. It is two messages deep: while
 * one is computed on, the next is on its way.
 *
 * A message passes through a device buffer of the channel, so that the stage's own memory is free for other
 * work at once. MPI reads and writes that buffer itself where it can (unified memory, or device pointers).
 * Elsewhere it passes through pinned host memory too, with an asynchronous copy:
 *
 *   send:    stage memory -> device buffer [-> host] -> MPI
 *   receive: MPI -> [host ->] device buffer -> stage memory
 *
 * The host waits for MPI alone. It hands a message to MPI once the event of the copy before has been reached,
 * which it checks in every call. While one channel waits for MPI, all channels of its group make progress. */
#ifndef QG_TRAIN_CHANNEL_H
#define QG_TRAIN_CHANNEL_H

#include "qgalore/backend.h"
#include "qgalore/memory.h"
#include "qgalore/par.h"

enum { QG_CHANNEL_DEPTH = 2 };

/* Tags of the messages between stages. */
enum { QG_TAG_FORWARD = 1, QG_TAG_BACKWARD = 2, QG_TAG_TIED = 3, QG_TAG_SELFTEST = 4, QG_TAG_TRANSPORT = 5 };

typedef struct {
  int peer, tag; /* the other stage; peer < 0: no channel, calls do nothing */
  bool receives;
  bool device_pointers; /* MPI reads and writes device memory */
  qg_dtype type;
  int64_t elements; /* of one message */
} qg_channel_request;

typedef struct {
  void *device_buffer; /* device memory of the ledger */
  void *mpi_buffer;    /* what MPI sees: the device buffer itself, or host memory of the ledger */
  qg_transfer *transfer;
  qg_event
      *stage_done; /* the copy between device buffer and stage memory; NULL: calls return when it is done */
  qg_event *host_done; /* the copy between device buffer and host memory; NULL: there is none */
} qg_channel_buffer;

typedef struct qg_channel {
  qg_channel_request shape;
  qg_backend *be;
  struct qg_channel *next; /* in the group, which is a ring */
  int messages;            /* of this step */
  int handled;             /* of these, how many were copied from, or to, stage memory */
  int started;             /* and how many MPI knows of */
  qg_channel_buffer buffers[QG_CHANNEL_DEPTH];
} qg_channel;

/* A group of its own. par == NULL: plan only (dry ledger, `be` is asked for sizes). Local. */
qg_status qg_channel_create(qg_mem *mem, qg_par *par, qg_backend *be, const qg_channel_request *request,
                            qg_channel *channel);
void qg_channel_destroy(qg_channel *channel);
/* Makes one group of those of two channels. */
void qg_channel_join(qg_channel *a, qg_channel *b);

/* Before the first of the `messages` of a step. Posts the first receives. */
qg_status qg_channel_begin(qg_channel *channel, int messages);
/* Waits for the next message and queues its copy to `device`. */
qg_status qg_channel_receive(qg_channel *channel, void *device);
/* Queues the copy of the next message from `device`. */
qg_status qg_channel_send(qg_channel *channel, const void *device);
/* Waits until all sends of the step are done. */
qg_status qg_channel_drain(qg_channel *channel);

#endif
