/* The memory ledger: every byte has a named owner, and is taken before the first step. Between steps memory may be given back and taken
 * again (qg_mem_free).
 *
 * A ledger without a backend is dry: qg_mem_alloc only counts and hands out NULL. The
 * creators of all modules run against a dry ledger for `--check` and against a live one for
 * the run, so what is predicted is what is used. Creators must therefore not touch device
 * memory; filling it is a separate call. */
#ifndef QGALORE_MEMORY_H
#define QGALORE_MEMORY_H

#include "qgalore/backend.h"
#include "qgalore/base/status.h"

typedef enum {
  QG_OWNER_WEIGHTS,      /* codes, scales, zeros; dense weights */
  QG_OWNER_PROJECTORS,
  QG_OWNER_MOMENTS,
  QG_OWNER_GRADIENTS,    /* what waits for the end of a step: low-rank and dense accumulators, accumulated full gradients */
  QG_OWNER_ACTIVATIONS,  /* saved between forward and backward */
  QG_OWNER_WORKSPACE,    /* scratch of one layer, of one matrix with its weight and gradient, logits, backend */
  QG_OWNER_TRANSFER,     /* pipeline buffers */
  QG_OWNER_DATA,         /* token batches */
  QG_OWNER_CHECKPOINT,   /* the snapshot of an asynchronous save, the self-test's tokens */
  QG_OWNER_RUNTIME,      /* program, MPI, HDF5, BLAS: estimated, not allocated by us */
  QG_OWNER_CONTEXT,      /* on a device beside the ledger's memory: qg_device_share, partly estimated */
  QG_OWNER_COUNT
} qg_owner;

const char *qg_owner_name(qg_owner owner);

/* Where memory lies. In unified memory both are the same, and only the calls tell them apart. */
typedef enum { QG_SPACE_DEVICE, QG_SPACE_HOST, QG_SPACE_COUNT } qg_space;

typedef struct qg_mem qg_mem;

/* be == NULL: a dry ledger. */
qg_status qg_mem_create(qg_backend *be, qg_mem **out);
/* Releases every allocation and the ledger. NULL is fine. */
void qg_mem_destroy(qg_mem *mem);
bool qg_mem_is_dry(const qg_mem *mem);

/* Takes at once and in one piece what `plan`, a dry ledger of the same creators, counted on the device; qg_mem_alloc cuts from
 * it until it is used up, and asking for more is QG_ERR_RUNTIME: memory can run out here only. QG_ERR_RESOURCE names the
 * plan's largest owners, what is free, and what to do. For devices with memory of their own; before any allocation. */
qg_status qg_mem_reserve(qg_mem *mem, const qg_mem *plan);

/* Device memory, zeroed, 64-byte aligned (256 in a reserved piece). Freed by qg_mem_free or qg_mem_destroy. QG_ERR_RESOURCE names what, bytes and
 * the largest owners so far. bytes == 0 gives NULL. */
qg_status qg_mem_alloc(qg_mem *mem, qg_owner owner, const char *what, size_t bytes, void **out);
/* Gives back what qg_mem_alloc handed out, with the same owner and bytes. In a reserved piece it serves the next request of that size.
 * NULL is fine, and all that a dry ledger sees. */
void qg_mem_free(qg_mem *mem, qg_owner owner, size_t bytes, void *memory);
/* Host memory for transfers (pinned where that means something). */
qg_status qg_mem_alloc_host(qg_mem *mem, qg_owner owner, const char *what, size_t bytes, void **out);
/* Counts host bytes that somebody else allocates. */
void qg_mem_note(qg_mem *mem, qg_owner owner, size_t bytes);
/* Counts what a backend takes of its device beside the ledger. */
void qg_mem_note_device(qg_mem *mem, const qg_device_share *share);

size_t qg_mem_bytes(const qg_mem *mem, qg_owner owner);
size_t qg_mem_bytes_in(const qg_mem *mem, qg_space space, qg_owner owner);
size_t qg_mem_total(const qg_mem *mem);
/* Of one space, with what aligning the pieces of a reservation costs. */
size_t qg_mem_space(const qg_mem *mem, qg_space space);
/* How many times qg_mem_alloc was called: a steady step must not change it. */
int64_t qg_mem_allocations(const qg_mem *mem);

/* Convenience: a dense [rows, cols] view in fresh device memory (data NULL when dry). */
qg_status qg_mem_view(qg_mem *mem, qg_owner owner, const char *what, qg_dtype type, int64_t rows,
                      int64_t cols, qg_view *out);

/* Lays pieces out one after the other in memory that was taken whole. Without a base it only counts, so one function both
 * sizes and places; a copy of a cursor lays out what has the same place at another time. */
typedef struct {
  char *base;
  size_t used;
} qg_mem_cursor;

static inline void *qg_mem_place(qg_mem_cursor *from, size_t bytes)
{
  enum { PIECE = 256 };
  void *memory = from->base ? from->base + from->used : NULL;
  from->used += (bytes + PIECE - 1) / PIECE * PIECE;
  return memory;
}

/* Takes the backend's workspace for a workload from the ledger and hands it to the backend.
 * `be` is used for sizing in a dry ledger too. */
qg_status qg_backend_reserve(qg_mem *mem, qg_backend *be, const qg_workload *workload);

#endif
