/* Ranks and the messages between them: every MPI call of the program is behind this header.
 *
 * The grid: `stages` pipeline stages x `replicas` data-parallel copies; rank = replica * stages
 * + stage. Today replicas is 1. Functions say whether they are collective (over all ranks). */
#ifndef QGALORE_PAR_H
#define QGALORE_PAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qgalore/base/status.h"

typedef struct qg_par qg_par;

typedef struct {
  int rank, size;
  int stage, stages;     /* place in the pipeline */
  int replica, replicas; /* place among data-parallel copies */
  int local_rank, local_size; /* among the ranks of this node */
  char host[64];
} qg_grid;

/* Starts MPI (MPI_THREAD_FUNNELED or better). Collective. */
qg_status qg_par_init(int *argc, char ***argv, qg_par **out);
/* Ends MPI. Collective. */
void qg_par_finalize(qg_par *par);
/* Prints nothing; ends all ranks with this exit code. Local, does not return. */
void qg_par_abort(qg_par *par, qg_status code) __attribute__((noreturn));

const qg_grid *qg_par_grid(const qg_par *par);
static inline bool qg_par_is_root(const qg_grid *grid) { return grid->rank == 0; }

/* Makes one result of everybody's: if any rank failed, all return the status of the lowest failing
 * rank, and its message is everybody's (prefixed "rank N: " when size > 1, unless an earlier agreement did
 * that). Collective. */
qg_status qg_par_agree(qg_par *par, qg_status mine);

/* `bytes` of root's buffer to everybody, in pieces below 2^31. Collective. */
qg_status qg_par_broadcast(qg_par *par, void *buffer, size_t bytes, int root);
/* values[i] = sum over ranks in rank order (the same bits everywhere). Collective. */
qg_status qg_par_sum(qg_par *par, double *values, int count);
/* values[i] = largest / smallest over ranks, NaN if any is NaN. Collective. */
qg_status qg_par_max(qg_par *par, double *values, int count);
qg_status qg_par_min(qg_par *par, double *values, int count);
/* `bytes` of every rank, in rank order, to root's `out` (size * bytes; ignored elsewhere). Collective. */
qg_status qg_par_gather(qg_par *par, const void *mine, size_t bytes, void *out, int root);
/* Collective. */
qg_status qg_par_barrier(qg_par *par);

/* Point to point between pipeline stages; host buffers (or device buffers where the transport can).
 * Long messages travel as several MPI messages (see the end of this header). */
typedef struct qg_transfer qg_transfer;

/* A reusable transfer for at most `bytes`. Free with qg_transfer_free. Local. */
qg_status qg_transfer_create(qg_par *par, size_t bytes, qg_transfer **out);
void qg_transfer_free(qg_transfer *transfer);
/* Starts sending / receiving; buffer must stay until qg_transfer_wait. Non-blocking.
 * Both sides use the same bytes and tag, 0 to 32767. */
qg_status qg_transfer_send(qg_transfer *transfer, const void *buffer, size_t bytes, int stage, int tag);
qg_status qg_transfer_receive(qg_transfer *transfer, void *buffer, size_t bytes, int stage, int tag);
/* Finishes the started operation; no-op if none. A received message of another length is QG_ERR_RUNTIME. */
qg_status qg_transfer_wait(qg_transfer *transfer);
/* The same if it is over, else *done is false. */
qg_status qg_transfer_test(qg_transfer *transfer, bool *done);
bool qg_transfer_is_active(const qg_transfer *transfer);

/* Whether this MPI library takes pointers to device memory, as far as it says (MPIX_Query_cuda_support). Local. */
typedef enum { QG_DEVICE_POINTERS_REFUSED, QG_DEVICE_POINTERS_UNKNOWN, QG_DEVICE_POINTERS_TAKEN } qg_device_pointers;
qg_device_pointers qg_par_device_pointers(const qg_par *par);

/* For tests: the largest single MPI message in bytes (default 1 GiB), synchronous sends (MPI_Issend), which
 * a correct schedule must survive, and what qg_par_device_pointers says (0, 1, 2). The root rank reads
 * QGALORE_PAR_CHUNK, QGALORE_PAR_SYNCHRONOUS=1 and QGALORE_PAR_DEVICE at qg_par_init for all. */

/* In par/mpi.h for the few modules that hand a communicator to a library (HDF5, BLACS):
 *   MPI_Comm qg_par_comm(const qg_par *par); */

#endif
