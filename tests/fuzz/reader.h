/* What each fuzz target offers: one reader of files, fed with bytes. The same target is linked to a fuzzer
 * (fuzzer.c, `make fuzz`) and to a replay of the kept corpus (replay.c, `make check`). */
#ifndef QG_TESTS_FUZZ_READER_H
#define QG_TESTS_FUZZ_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qgalore/base/status.h"

/* Reads the bytes as a file of its kind: the status that a user's file of these bytes would have. */
qg_status qg_fuzz_read(const uint8_t *data, size_t size);

/* The path of a temporary file that holds the bytes; the next call reuses it. Beside it lie the rank files of
 * tests/fuzz/rank_files, to which a checkpoint may refer. NULL: none can be made. */
const char *qg_fuzz_file(const uint8_t *data, size_t size);

#endif
