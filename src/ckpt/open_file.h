/* A checkpoint that is open for reading. */
#ifndef QG_CKPT_OPEN_FILE_H
#define QG_CKPT_OPEN_FILE_H

#include <hdf5.h>

#include "ckpt/header.h"

struct qg_ckpt_file {
  qg_par *par; /* NULL: opened by one rank for itself */
  char *path;
  hid_t file, access; /* access: how its datasets are opened */
  qg_ckpt_header header;
};

#endif
