/* The folder of a run: output_dir/name with resolved.in, metrics.jsonl, status and checkpoints/. */
#ifndef QG_TRAIN_RUN_FOLDER_H
#define QG_TRAIN_RUN_FOLDER_H

#include <stdint.h>

#include "qgalore/config.h"
#include "qgalore/status.h"

typedef struct {
  char root[2 * QG_PATH_MAX], checkpoints[2 * QG_PATH_MAX + 16], stop_file[2 * QG_PATH_MAX + 16];
} qg_run_folder;

qg_run_folder qg_run_folder_of(const qg_config *config);
/* Makes the folders and writes resolved.in. Rank 0. */
qg_status qg_run_folder_prepare(const qg_run_folder *folder, const qg_config *config);
/* Replaces the status file: lines key=value. state: running | finished | resume | failed. Rank 0. */
qg_status qg_run_folder_write_status(const qg_run_folder *folder, const char *state, int64_t step,
                                     int64_t steps, const char *reason);

#endif
