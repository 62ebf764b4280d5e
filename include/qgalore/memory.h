/* The memory ledger: every byte has a named owner, and is taken once, before the first step.
 *
 * A ledger without a backend is dry: qg_mem_alloc only counts and hands out NULL. The
 * creators of all modules run against a dry ledger for `--check` and against a live one for
 * the run, so what is predicted is what is used. Creators must therefore not touch device
 * memory; filling it is a separate call. */
#ifndef QGALORE_MEMORY_H
#define QGALORE_MEMORY_H

#include "qgalore/backend.h"
#include "qgalore/status.h"

typedef enum {
  QG_OWNER_WEIGHTS,      /* codes, scales, zeros; dense weights */
  QG_OWNER_PROJECTORS,
  QG_OWNER_MOMENTS,
  QG_OWNER_GRADIENTS,    /* low-rank accumulators, dense gradients, full gradients of due refreshes */
  QG_OWNER_ACTIVATIONS,  /* saved between forward and backward */
  QG_OWNER_WORKSPACE,    /* scratch of one layer, dequantised weights, logits, backend */
  QG_OWNER_TRANSFER,     /* pipeline buffers */
  QG_OWNER_DATA,         /* token batches */
  QG_OWNER_CHECKPOINT,   /* the snapshot of an asynchronous save, the probe's tokens */
  QG_OWNER_RUNTIME,      /* program, MPI, HDF5, BLAS: estimated, not allocated by us */
  QG_OWNER_COUNT
} qg_owner;

const char *qg_owner_name(qg_owner owner);

typedef struct qg_mem qg_mem;

/* be == NULL: a dry ledger. */
qg_status qg_mem_create(qg_backend *be, qg_mem **out);
/* Releases every allocation and the ledger. NULL is fine. */
void qg_mem_destroy(qg_mem *mem);
bool qg_mem_is_dry(const qg_mem *mem);

/* Device memory, zeroed, 64-byte aligned. Freed by qg_mem_destroy. QG_ERR_RESOURCE names what, bytes and
 * the largest owners so far. bytes == 0 gives NULL. */
qg_status qg_mem_alloc(qg_mem *mem, qg_owner owner, const char *what, size_t bytes, void **out);
/* Host memory for transfers (pinned where that means something). */
qg_status qg_mem_alloc_host(qg_mem *mem, qg_owner owner, const char *what, size_t bytes, void **out);
/* Counts bytes that somebody else allocates. */
void qg_mem_note(qg_mem *mem, qg_owner owner, size_t bytes);

size_t qg_mem_bytes(const qg_mem *mem, qg_owner owner);
size_t qg_mem_total(const qg_mem *mem);
/* How many times qg_mem_alloc was called: a steady step must not change it. */
int64_t qg_mem_allocations(const qg_mem *mem);

/* Convenience: a dense [rows, cols] view in fresh device memory (data NULL when dry). */
qg_status qg_mem_view(qg_mem *mem, qg_owner owner, const char *what, qg_dtype type, int64_t rows,
                      int64_t cols, qg_view *out);

/* Takes the backend's workspace for a workload from the ledger and hands it to the backend.
 * `be` is used for sizing in a dry ledger too. */
qg_status qg_backend_reserve(qg_mem *mem, qg_backend *be, const qg_workload *workload);

#endif
