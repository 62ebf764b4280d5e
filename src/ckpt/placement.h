/* Which rank writes which bytes of a checkpoint, and at which offset of which file.
 *
 * Items are numbered through over all datasets, in the order of the layout, and so are checksums. In the
 * layout shared all items lie in the HDF5 file; in the layout per_rank each rank has a file of its own, which
 * holds its items one behind the other, and the datasets are external (doc/formats.md). */
#ifndef QG_CKPT_PLACEMENT_H
#define QG_CKPT_PLACEMENT_H

#include "ckpt/layout.h"
#include "qgalore/ckpt.h"
#include "qgalore/par.h"

/* Where a dataset begins. */
typedef struct {
  int64_t first_item, first_sum;
  int64_t blocks;  /* of an item: its checksums */
  int64_t address; /* shared: of the data in the HDF5 file, bytes */
} qg_ckpt_dataset_offsets;

typedef struct {
  qg_ckpt_layout layout;
  char (*names)[QG_CKPT_NAME]; /* [layout.count]: a save may outlive the entries that it began with */
  qg_ckpt_files files;
  size_t block_bytes;
  int64_t items, sums;              /* of all datasets */
  qg_ckpt_dataset_offsets *offsets; /* [layout.count] */
  int32_t *item_owners;             /* [items]: the rank that writes it */
  int64_t *item_offsets;            /* [items]: where it lies in its file, bytes */
  int64_t *rank_bytes;              /* [ranks]: of all that a rank writes */
} qg_ckpt_placement;

/* Fails on all ranks unless all have the same layout and every item has exactly one owner. Free with
 * qg_ckpt_placement_free in any case. Collective. */
qg_status qg_ckpt_placement_make(qg_par *par, const qg_state_entry *entries, int count, qg_ckpt_files files,
                                 size_t block_bytes, qg_ckpt_placement *out);
void qg_ckpt_placement_free(qg_ckpt_placement *placement);

/* Layout shared: fills the offsets of items from the addresses of the datasets. Local. */
void qg_ckpt_placement_set_addresses(qg_ckpt_placement *placement);

/* The number of the dataset of this name, which the layout has. Local. */
int qg_ckpt_placement_find(const qg_ckpt_placement *placement, const char *name);

static inline size_t qg_ckpt_item_bytes(const qg_ckpt_dataset *dataset)
{
  return (size_t)dataset->elements * dataset->element_bytes;
}

#endif
