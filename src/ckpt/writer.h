/* Writing this rank's items at their places: plain writes, so that an error is an error of this rank alone
 * and nobody waits inside a library. Neither MPI nor HDF5 is called here: a helper thread may do it. All
 * local. */
#ifndef QG_CKPT_WRITER_H
#define QG_CKPT_WRITER_H

#include "ckpt/plan.h"
#include "qgalore/backend.h"

typedef struct {
  const qg_ckpt_plan *plan;
  const qg_ckpt_piece *pieces; /* [count] */
  int64_t count;
  qg_backend *be;   /* copies what is on the device */
  const char *path; /* of the file, which exists */
  uint32_t *sums;   /* [plan->sums]: those of this rank's slabs are filled in */
} qg_ckpt_writer;

/* Writes all pieces, reads them back and compares their checksums, and forces them to the disk. Disk full,
 * quota and write errors are QG_ERR_RESOURCE, other bytes than were written QG_ERR_CHECKPOINT. */
qg_status qg_ckpt_write(const qg_ckpt_writer *writer);

#endif
