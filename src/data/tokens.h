/* What stands behind a qg_tokens: one table of operations, and a source that each kind fills. */
#ifndef QGALORE_SRC_DATA_TOKENS_H
#define QGALORE_SRC_DATA_TOKENS_H

#include "qgalore/data.h"

/* Tokens covered by one CRC32C in the files that are written: few, since a block is read as a whole when it
 * is first used, and sequences are read in random order. Files say their own; those of format version 1 have
 * QG_TOKENS_CRC_BLOCK_1. */
#define QG_TOKENS_CRC_BLOCK ((int64_t)1 << 12)
#define QG_TOKENS_CRC_BLOCK_1 ((int64_t)1 << 20)

/* What the path of random tokens begins with. */
#define QG_TOKENS_RANDOM "random:"

typedef struct {
  /* Bounds are checked by the caller. */
  qg_status (*read)(void *source, int64_t first, int64_t count, int32_t *out);
  /* Everything against its checksums; NULL: there are none. */
  qg_status (*check)(void *source);
  void (*close)(void *source);
} qg_token_source;

struct qg_tokens {
  qg_tokens_info info;
  char *path;                    /* for messages; owned */
  const qg_token_source *source; /* static */
  void *state;                   /* the source's own, freed by its close */
  int64_t bytes_read;            /* of the file, for tests */
};

/* Each fills info, source and state of a zeroed qg_tokens with its path set. */
qg_status qg_tokens_open_file(qg_tokens *tokens, int64_t vocab_size);
qg_status qg_tokens_open_random(qg_tokens *tokens, int64_t vocab_size, uint64_t seed);

/* Bytes that an open token file holds. */
size_t qg_tokens_file_bytes(void);

#endif
