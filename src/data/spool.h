/* A sequence of little-endian integers of one width that grows in an unnamed file until its length is known.
 */
#ifndef QGALORE_SRC_DATA_SPOOL_H
#define QGALORE_SRC_DATA_SPOOL_H

#include <stdint.h>
#include <stdio.h>

#include "qgalore/base/status.h"

typedef struct {
  FILE *file;    /* without a name; owned */
  size_t width;  /* bytes an element: 2, 4 or 8 */
  int64_t count; /* elements */
} qg_spool;

/* The file lies in the folder of `path`, where the data will go later. QG_ERR_RESOURCE. */
qg_status qg_spool_open(qg_spool *spool, const char *path, size_t width);
/* QG_ERR_RESOURCE: the disk is full. */
qg_status qg_spool_put(qg_spool *spool, uint64_t value);
qg_status qg_spool_rewind(qg_spool *spool);
/* The next count elements, as they will be in the file. */
qg_status qg_spool_get(qg_spool *spool, int64_t count, void *out);
void qg_spool_close(qg_spool *spool);

#endif
