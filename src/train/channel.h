/* A one-way stream of equally sized messages between two neighbouring stages, two deep: while one message is
 * computed on, the next is already under way. */
#ifndef QG_TRAIN_CHANNEL_H
#define QG_TRAIN_CHANNEL_H

#include "qgalore/backend.h"
#include "qgalore/memory.h"
#include "qgalore/par.h"

enum { QG_CHANNEL_DEPTH = 2 };

typedef struct {
  int peer, tag;                  /* the other stage; peer < 0: no channel, calls do nothing */
  size_t bytes;                   /* of one message */
  int messages;                   /* per step */
  int posted;                     /* receives started this step */
  void *buffer[QG_CHANNEL_DEPTH]; /* host memory of the ledger */
  qg_transfer *transfer[QG_CHANNEL_DEPTH];
} qg_channel;

/* par == NULL: plan only (dry ledger). Local. */
qg_status qg_channel_create(qg_mem *mem, qg_par *par, int peer, int tag, size_t bytes, int messages,
                            qg_channel *channel);
void qg_channel_destroy(qg_channel *channel);

/* Posts the first receives of a step. */
qg_status qg_channel_begin_receive(qg_channel *channel);
/* Waits for message `index` (0, 1, ... in order), copies it to device memory and posts the one
 * QG_CHANNEL_DEPTH later. */
qg_status qg_channel_receive(qg_channel *channel, qg_backend *be, int index, void *device);
/* Copies device memory out and starts sending it as message `index`. */
qg_status qg_channel_send(qg_channel *channel, qg_backend *be, int index, const void *device);
/* Waits until all sends of the step are done. */
qg_status qg_channel_drain(qg_channel *channel);

#endif
