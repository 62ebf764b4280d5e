/* The root attributes of a checkpoint: what the run was doing, guarded by a checksum of its own. */
#ifndef QG_CKPT_HEADER_H
#define QG_CKPT_HEADER_H

#include <hdf5.h>

#include "qgalore/ckpt.h"

#define QG_CKPT_FORMAT "qgalore-checkpoint"
#define QG_CKPT_VERSION "1.1"

typedef struct {
  qg_ckpt_meta meta; /* its texts are owned by the header */
  uint64_t block_bytes;
  char software[64]; /* "qgalore_hpc 0.1.0 (git)" */
  char created[32];  /* ISO 8601, UTC */
} qg_ckpt_header;

/* The header of a checkpoint that is about to be written: the root's meta and time on all ranks. Free with
 * qg_ckpt_header_free. Collective. */
qg_status qg_ckpt_header_make(qg_par *par, const qg_ckpt_meta *meta, qg_ckpt_header *out);
void qg_ckpt_header_free(qg_ckpt_header *header);

/* Writes all attributes, complete = 0. Collective over the file's ranks, who pass the same header. */
qg_status qg_ckpt_header_write(hid_t file, const char *path, const qg_ckpt_header *header);
/* complete = 1. Collective over the file's ranks. */
qg_status qg_ckpt_header_complete(hid_t file, const char *path);

/* Reads and checks format, version, complete mark and checksum. QG_ERR_CHECKPOINT names path and attribute.
 * Free with qg_ckpt_header_free. Local. */
qg_status qg_ckpt_header_read(hid_t file, const char *path, qg_ckpt_header *out);

#endif
