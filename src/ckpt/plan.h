/* Which rank writes which bytes of a checkpoint, and where.
 *
 * Items are counted through over all datasets, in the order of the layout, and so are checksums. In the
 * shared layout all items lie in the HDF5 file; in the layout per_rank each rank has a file of its own, which
 * holds its items one behind the other, and the datasets are external (doc/formats.md). */
#ifndef QG_CKPT_PLAN_H
#define QG_CKPT_PLAN_H

#include "ckpt/layout.h"
#include "qgalore/ckpt.h"
#include "qgalore/par.h"

/* Where a dataset begins. */
typedef struct {
  int64_t first_item, first_sum;
  int64_t slabs;   /* of an item: its checksums */
  int64_t address; /* shared: of the data in the HDF5 file, bytes */
} qg_ckpt_place;

typedef struct {
  qg_ckpt_layout layout;
  char (*names)[QG_CKPT_NAME]; /* [layout.count]: a save may outlive the entries that it began with */
  qg_ckpt_files files;
  size_t slab_bytes;
  int64_t items, sums;   /* of all datasets */
  qg_ckpt_place *places; /* [layout.count] */
  int32_t *owners;       /* [items]: the rank that writes it */
  int64_t *offsets;      /* [items]: where it lies in its file, bytes */
  int64_t *bytes;        /* [ranks]: of all that a rank writes */
} qg_ckpt_plan;

/* Fails on all ranks unless all have the same layout and every item has exactly one owner. Free with
 * qg_ckpt_plan_free in any case. Collective. */
qg_status qg_ckpt_plan_make(qg_par *par, const qg_state_entry *entries, int count, qg_ckpt_files files,
                            size_t slab_bytes, qg_ckpt_plan *out);
void qg_ckpt_plan_free(qg_ckpt_plan *plan);

/* Shared layout: fills the offsets from the addresses of the datasets. Local. */
void qg_ckpt_plan_place(qg_ckpt_plan *plan);

static inline size_t qg_ckpt_item_bytes(const qg_ckpt_dataset *dataset)
{
  return (size_t)dataset->elements * dataset->element_bytes;
}

/* One item that this rank writes. `data` is host memory unless on_device. */
typedef struct {
  const void *data;
  bool on_device;
  char *copy;  /* its place in the snapshot, if there is one */
  int dataset; /* of the layout */
  int64_t item;
} qg_ckpt_piece;

/* This rank's items in the order of the layout; caller frees. Local. */
qg_status qg_ckpt_pieces_make(const qg_ckpt_plan *plan, const qg_backend *be, const qg_state_entry *entries,
                              int count, qg_ckpt_piece **out, int64_t *pieces);

#endif
