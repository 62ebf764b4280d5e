/* The HDF5 side of a token file: names, header, and where each dataset lies (doc/formats.md). */
#ifndef QGALORE_SRC_DATA_TOKEN_LAYOUT_H
#define QGALORE_SRC_DATA_TOKEN_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "qgalore/data.h"

#define QG_TOKENS_FORMAT "qgalore-tokens"
enum { QG_TOKENS_FORMAT_VERSION = 2 }; /* version 1 is read as well */

/* Above every vocabulary in use; keeps a hostile header from asking for gigabytes of counters. */
#define QG_TOKENS_VOCAB_MAX ((int64_t)1 << 24)

/* A one-dimensional contiguous dataset of little-endian integers. */
typedef struct {
  int64_t offset; /* bytes from the start of the file */
  int64_t count;  /* elements */
  size_t width;   /* bytes an element */
} qg_extent;

typedef struct {
  qg_extent tokens;    /* u16 or u32 */
  qg_extent documents; /* i64 */
  qg_extent crc32c;    /* u32, one for each `block` tokens */
  int64_t block;
} qg_token_layout;

/* Reads header and layout and checks them against each other and against the size of the open file `fd`; no
 * token is read. HDF5 runs in a child process, which a hostile file may crash. QG_ERR_INPUT says what is
 * wrong. Local. */
qg_status qg_token_layout_read(const char *path, int fd, qg_token_layout *layout, qg_tokens_info *info);

#endif
