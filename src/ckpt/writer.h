/* Writing the data of a checkpoint: all ranks together, in batches of slabs of at most slab_bytes per rank.
 *
 * A rank that fails goes on taking part in the collective calls with nothing to write until the next
 * agreement, so that no rank waits for another. */
#ifndef QG_CKPT_WRITER_H
#define QG_CKPT_WRITER_H

#include <hdf5.h>

#include "ckpt/layout.h"
#include "qgalore/backend.h"
#include "qgalore/par.h"

typedef struct {
  qg_par *par;
  qg_backend *be;
  const char *path;
  hid_t file, transfer; /* transfer: collective */
  size_t slab_bytes;
  void *staging; /* slab_bytes, host */
} qg_ckpt_writer;

/* Fails on all ranks unless all have the same layout and every item has exactly one owner. Collective. */
qg_status qg_ckpt_check_owners(qg_par *par, const qg_ckpt_layout *layout, const qg_state_entry *entries,
                               int count);

/* Creates one dataset with its checksums and fills both. Agreed. Collective. */
qg_status qg_ckpt_write_dataset(const qg_ckpt_writer *writer, const qg_ckpt_dataset *dataset,
                                const qg_state_entry *entries, int count);

#endif
