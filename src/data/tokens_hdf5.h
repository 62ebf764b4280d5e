/* What a token writer has collected, and writing it to an HDF5 file. */
#ifndef QGALORE_SRC_DATA_TOKENS_HDF5_H
#define QGALORE_SRC_DATA_TOKENS_HDF5_H

#include "data/int_file.h"
#include "qgalore/data.h"

struct qg_tokens_writer {
  qg_tokens_header header; /* provenance is owned */
  char *path;
  qg_int_file tokens;    /* u16 or u32 */
  qg_int_file documents; /* i64: first token of each */
  int64_t text_bytes;
};

/* Writes a whole token file under the name `path`, marked complete at the end. QG_ERR_RESOURCE. Local. */
qg_status qg_tokens_write_hdf5(const char *path, qg_tokens_writer *writer);

#endif
