/* Writing this rank's items at their offsets: pwrite without HDF5, so that an error is an error of this rank
 * alone and nobody waits inside a library. Neither MPI nor HDF5 is called here: a background thread may do
 * it. All local. */
#ifndef QG_CKPT_WRITER_H
#define QG_CKPT_WRITER_H

#include "ckpt/local_items.h"

typedef struct {
  const qg_ckpt_placement *placement;
  const qg_ckpt_local_items *local;
  qg_backend *be;   /* copies what is on the device */
  const char *path; /* of the file, which exists */
  uint32_t *sums;   /* [placement->sums]: those of this rank's items are filled in */
} qg_ckpt_writer;

/* Writes all items, reads them back and compares their checksums, and forces them to the disk. Disk full,
 * quota and write errors are QG_ERR_RESOURCE, other bytes than were written QG_ERR_CHECKPOINT. */
qg_status qg_ckpt_write(const qg_ckpt_writer *writer);

#endif
