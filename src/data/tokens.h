/* What stands behind a qg_tokens: one table of operations, and a source that each kind fills. */
#ifndef QGALORE_SRC_DATA_TOKENS_H
#define QGALORE_SRC_DATA_TOKENS_H

#include "qgalore/data.h"

/* Elements covered by one CRC32C; part of the file format. */
#define QG_TOKENS_CRC_BLOCK ((int64_t)1 << 20)

/* What the path of random tokens begins with. */
#define QG_TOKENS_RANDOM "random:"

typedef struct {
  /* Bounds are checked by the caller. */
  qg_status (*read)(void *source, int64_t first, int64_t count, int32_t *out);
  void (*close)(void *source);
} qg_token_source;

struct qg_tokens {
  qg_tokens_info info;
  char *path;                    /* for messages; owned */
  const qg_token_source *source; /* static */
  void *state;                   /* the source's own, freed by its close */
};

/* Each fills info, source and state of a zeroed qg_tokens with its path set. */
qg_status qg_tokens_open_file(qg_tokens *tokens, int64_t vocab_size);
qg_status qg_tokens_open_random(qg_tokens *tokens, int64_t vocab_size, uint64_t seed);

/* Bytes that an open token file holds. */
size_t qg_tokens_file_bytes(void);

#endif
