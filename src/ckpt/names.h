/* Names of the files of a checkpoint. Of step 1234 they are
 *
 *   step-0000001234.h5                          the HDF5 file
 *   step-0000001234.h5.tmp                      the same while it is written
 *   step-0000001234.h5.GENERATION.rank-RANK     layout per_rank: the raw data of one rank
 *
 * All local. */
#ifndef QG_CKPT_NAMES_H
#define QG_CKPT_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/base/status.h"

enum { QG_CKPT_PATH = 4096 };

/* Writes <folder>/step-<step>.h5 with `suffix` into `path`. */
qg_status qg_ckpt_path(const char *folder, int64_t step, const char *suffix, char path[QG_CKPT_PATH]);
/* Is `name` step-NNNNNNNNNN.h5 followed by `suffix`? Fills `step`. */
bool qg_ckpt_name_parse(const char *name, const char *suffix, int64_t *step);

/* The rank files of one save; qg_ckpt_rank_file_name adds the rank. */
typedef struct {
  int64_t step;
  int generation;
} qg_ckpt_rank_files;

enum { QG_CKPT_RANK_FILE_NAME = 64 };

/* Its name within the folder, as the HDF5 file has it. */
void qg_ckpt_rank_file_name(const qg_ckpt_rank_files *files, int rank, char name[QG_CKPT_RANK_FILE_NAME]);
qg_status qg_ckpt_rank_file_path(const char *folder, const qg_ckpt_rank_files *files, int rank,
                                 char path[QG_CKPT_PATH]);
/* Is `name` that of a rank file? Fills `files`. */
bool qg_ckpt_rank_file_parse(const char *name, qg_ckpt_rank_files *files);

#endif
