/* The folder of a run: output_dir/name with resolved.in, metrics.jsonl, status, lock and checkpoints/. */
#ifndef QG_TRAIN_RUN_FOLDER_H
#define QG_TRAIN_RUN_FOLDER_H

#include <stdint.h>

#include "qgalore/base/log.h"
#include "qgalore/base/status.h"
#include "qgalore/config.h"

typedef struct {
  char root[2 * QG_PATH_MAX], checkpoints[2 * QG_PATH_MAX + 16], stop_file[2 * QG_PATH_MAX + 16];
} qg_run_folder;

qg_run_folder qg_run_folder_of(const qg_config *config);
/* Makes the folders, takes the lock, which ends with the process or by closing *lock, and removes a STOP of
 * an earlier attempt. Waits a few seconds for a run that is just ending; on failure *lock is -1. A file
 * system without locks gives none and no error. Rank 0. */
qg_status qg_run_folder_open(const qg_run_folder *folder, const qg_log *log, int *lock);

typedef enum { QG_HOLDER_NONE, QG_HOLDER_LIVES, QG_HOLDER_UNKNOWN } qg_holder;
/* Whether a process holds the lock of a run's folder, and who: "HOST, process ID". Local. */
qg_holder qg_run_folder_holder(const char *folder, char *text, size_t size);
/* Writes resolved.in. Rank 0. */
qg_status qg_run_folder_write_input(const qg_run_folder *folder, const qg_config *config);
/* What the status file says, as text; "" where it says nothing. */
typedef struct {
  char state[16];   /* running | finished | resume | failed */
  int64_t step;     /* of the newest checkpoint */
  int64_t steps;    /* of the whole run */
  char reason[256]; /* one line */
  char updated[32]; /* ISO 8601, UTC */
} qg_run_status;

/* Replaces the status file: lines key=value; `updated` is the present time. A reason of several lines is cut
 * after the first. Rank 0. */
qg_status qg_run_folder_write_status(const qg_run_folder *folder, const char *state, int64_t step,
                                     int64_t steps, const char *reason);
/* The same text in place of that in the file: without memory, another file, or a lock that a hanging thread
 * may hold. Local. */
void qg_run_folder_overwrite_status(const qg_run_folder *folder, const char *state, int64_t step,
                                    int64_t steps, const char *reason);
/* QG_ERR_INPUT if the folder has no such file, or what it holds is none. Local. */
qg_status qg_run_folder_read_status(const char *folder, qg_run_status *out);

#endif
