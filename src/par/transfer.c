/* Messages between pipeline stages.
 *
 * All pieces of a message bear its tag: MPI keeps messages with the same sender, receiver and tag in order,
 * so piece i of the sender meets piece i of the receiver. */
#include <stdlib.h>

#include "par/mpi_check.h"
#include "par/par_private.h"
#include "qgalore/base.h"

struct qg_transfer {
  qg_par *par;
  size_t capacity; /* bytes */
  int max_pieces;
  int pieces;  /* of the operation under way, 0 if none */
  int started; /* pieces that MPI has accepted */
  bool receiving;
  int peer;              /* rank at the other end */
  size_t bytes;          /* of the operation under way */
  MPI_Request *requests; /* [max_pieces] */
  MPI_Status *results;   /* [max_pieces] */
};

/* An empty message is one empty piece. */
static int64_t count_pieces(const qg_par *par, size_t bytes)
{
  return qg_max_i64(1, qg_ceil_div((int64_t)bytes, (int64_t)par->chunk));
}

/* Bytes of piece i of a message. */
static int piece_bytes(const qg_transfer *t, int i)
{
  size_t before = (size_t)i * t->par->chunk, left = t->bytes - before;
  return (int)(left < t->par->chunk ? left : t->par->chunk);
}

qg_status qg_transfer_create(qg_par *par, size_t bytes, qg_transfer **out)
{
  qg_status status = QG_OK;
  void *memory, *requests, *results;
  *out = NULL;
  QG_TRY(qg_calloc(1, sizeof(qg_transfer), "a transfer", &memory));
  qg_transfer *t = memory;
  t->par = par;
  t->capacity = bytes;
  QG_TRY_OUT(qg_narrow_int(count_pieces(par, bytes), "the number of pieces of a message", &t->max_pieces));
  QG_TRY_OUT(qg_calloc((size_t)t->max_pieces, sizeof(MPI_Request), "message requests", &requests));
  t->requests = requests;
  QG_TRY_OUT(qg_calloc((size_t)t->max_pieces, sizeof(MPI_Status), "message results", &results));
  t->results = results;
  *out = t;
out:
  if (status != QG_OK) qg_transfer_free(t);
  return status;
}

void qg_transfer_free(qg_transfer *t)
{
  if (!t) return;
  /* Only a run that failed frees an active transfer; its buffer may go away, so nothing may arrive any more.
   */
  for (int i = 0; i < t->started; i++) {
    if (t->receiving) MPI_Cancel(&t->requests[i]);
    MPI_Request_free(&t->requests[i]);
  }
  free(t->requests);
  free(t->results);
  free(t);
}

static qg_status begin(qg_transfer *t, size_t bytes, int stage, bool receiving)
{
  const qg_grid *grid = &t->par->grid;
  QG_CHECK(t->pieces == 0, QG_ERR_RUNTIME, "a transfer was used again before qg_transfer_wait");
  QG_CHECK(bytes <= t->capacity, QG_ERR_RUNTIME, "a message of %zu bytes does not fit its transfer of %zu",
           bytes, t->capacity);
  QG_CHECK(stage >= 0 && stage < grid->stages, QG_ERR_RUNTIME, "there is no pipeline stage %d among %d",
           stage, grid->stages);
  t->peer = grid->replica * grid->stages + stage;
  t->bytes = bytes;
  t->receiving = receiving;
  t->pieces = (int)count_pieces(t->par, bytes);
  return QG_OK;
}

qg_status qg_transfer_send(qg_transfer *t, const void *buffer, size_t bytes, int stage, int tag)
{
  QG_TRY(begin(t, bytes, stage, false));
  for (; t->started < t->pieces; t->started++) {
    const char *piece = bytes ? (const char *)buffer + (size_t)t->started * t->par->chunk : NULL;
    int count = piece_bytes(t, t->started);
    MPI_Request *request = &t->requests[t->started];
    if (t->par->synchronous) QG_MPI(MPI_Issend(piece, count, MPI_BYTE, t->peer, tag, t->par->comm, request));
    else
      QG_MPI(MPI_Isend(piece, count, MPI_BYTE, t->peer, tag, t->par->comm, request));
  }
  return QG_OK;
}

qg_status qg_transfer_receive(qg_transfer *t, void *buffer, size_t bytes, int stage, int tag)
{
  QG_TRY(begin(t, bytes, stage, true));
  for (; t->started < t->pieces; t->started++) {
    char *piece = bytes ? (char *)buffer + (size_t)t->started * t->par->chunk : NULL;
    int count = piece_bytes(t, t->started);
    QG_MPI(MPI_Irecv(piece, count, MPI_BYTE, t->peer, tag, t->par->comm, &t->requests[t->started]));
  }
  return QG_OK;
}

/* MPI accepts a message that is shorter than its receive; for us it is a broken schedule. */
static qg_status check_lengths(const qg_transfer *t, int pieces)
{
  for (int i = 0; i < pieces; i++) {
    int arrived;
    QG_MPI(MPI_Get_count(&t->results[i], MPI_BYTE, &arrived));
    QG_CHECK(arrived == piece_bytes(t, i), QG_ERR_RUNTIME,
             "rank %d sent %d bytes with tag %d where rank %d expected %d", t->results[i].MPI_SOURCE, arrived,
             t->results[i].MPI_TAG, t->par->grid.rank, piece_bytes(t, i));
  }
  return QG_OK;
}

/* What MPI said when it was through with all pieces. */
static qg_status finish(qg_transfer *t, int error)
{
  int pieces = t->started;
  t->started = t->pieces = 0;
  if (error == MPI_ERR_IN_STATUS)
    for (int i = 0; i < pieces; i++) QG_MPI(t->results[i].MPI_ERROR);
  QG_MPI(error);
  return t->receiving ? check_lengths(t, pieces) : QG_OK;
}

qg_status qg_transfer_wait(qg_transfer *t)
{
  if (t->started > 0) return finish(t, MPI_Waitall(t->started, t->requests, t->results));
  t->pieces = 0;
  return QG_OK;
}

qg_status qg_transfer_test(qg_transfer *t, bool *done)
{
  int over = 0;
  *done = true;
  if (t->started == 0) return qg_transfer_wait(t);
  int error = MPI_Testall(t->started, t->requests, &over, t->results);
  *done = over || error != MPI_SUCCESS;
  return *done ? finish(t, error) : QG_OK;
}

bool qg_transfer_is_active(const qg_transfer *t)
{
  return t->pieces > 0;
}
