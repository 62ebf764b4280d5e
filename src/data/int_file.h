/* A file without a name that holds little-endian integers of one width: written one by one until their number
 * is known, then read back once. */
#ifndef QGALORE_SRC_DATA_INT_FILE_H
#define QGALORE_SRC_DATA_INT_FILE_H

#include <stdint.h>
#include <stdio.h>

#include "qgalore/base/status.h"

typedef struct {
  FILE *file;    /* without a name; owned */
  size_t width;  /* bytes an element: 2, 4 or 8 */
  int64_t count; /* elements */
} qg_int_file;

/* The file lies in the folder of `path`, where the data will go later. QG_ERR_RESOURCE. */
qg_status qg_int_file_open(qg_int_file *ints, const char *path, size_t width);
/* QG_ERR_RESOURCE: the disk is full. */
qg_status qg_int_file_append(qg_int_file *ints, uint64_t value);
qg_status qg_int_file_rewind(qg_int_file *ints);
/* The next count elements, as they will be in the file. */
qg_status qg_int_file_read(qg_int_file *ints, int64_t count, void *out);
void qg_int_file_close(qg_int_file *ints);

#endif
