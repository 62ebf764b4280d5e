/* A tied embedding lives on the first stage (as embedding) and on the last (as head). Both hold the weight
 * and its moments; each computes one part of the gradient. Both parts go to both stages, which then make the
 * same update. */
#ifndef QG_TRAIN_TIED_H
#define QG_TRAIN_TIED_H

#include "qgalore/memory.h"
#include "qgalore/optim.h"
#include "qgalore/par.h"

typedef struct {
  qg_mem *mem;
  qg_backend *be;
  qg_par *par; /* NULL: memory is only planned */
  const qg_param_list *params;
  int index, stages;    /* of this stage */
  bool device_pointers; /* MPI reads and writes device memory */
} qg_tied_request;

typedef struct {
  qg_backend *be;
  int peer;    /* the other stage */
  bool first;  /* this is the stage of the lookups */
  bool direct; /* MPI reads and writes the gradients themselves; else chunks pass through host memory */
  size_t bytes, chunk; /* of the gradient, and of one message; 0: this stage exchanges nothing */
  qg_transfer *sending, *receiving;
  void *buffer; /* host, two chunks, unless direct */
} qg_tied;

/* The buffer and the messages of an exchange; nothing on stages that have none. */
qg_status qg_tied_create(const qg_tied_request *request, qg_tied *tied);
void qg_tied_destroy(qg_tied *tied);
/* The first and the last stage swap their parts of the gradient. Collective over the two; no-op elsewhere. */
qg_status qg_tied_exchange(const qg_tied *tied, qg_optim *optim);

#endif
