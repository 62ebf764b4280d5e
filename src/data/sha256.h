/* SHA-256 (FIPS 180-4), to name a tokenizer by its content. Not for secrets. */
#ifndef QGALORE_SRC_DATA_SHA256_H
#define QGALORE_SRC_DATA_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "qgalore/base/status.h"

typedef struct {
  uint32_t state[8];
  uint64_t bytes; /* hashed so far, with those in `block` */
  unsigned char block[64];
} qg_sha256;

enum { QG_SHA256_HEX = 65 }; /* 64 digits and the NUL */

void qg_sha256_init(qg_sha256 *hash);
void qg_sha256_update(qg_sha256 *hash, const void *data, size_t bytes);
/* Lower-case hexadecimal digest. The state is used up. */
void qg_sha256_finish(qg_sha256 *hash, char hex[QG_SHA256_HEX]);

/* Of a whole file. QG_ERR_INPUT if it cannot be read. Local. */
qg_status qg_sha256_file(const char *path, char hex[QG_SHA256_HEX]);

#endif
