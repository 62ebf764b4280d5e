/* Checkpoints: one HDF5 file for the whole job, verified before it counts (doc/formats.md).
 *
 * A run keeps them in <folder>/step-0000001234.h5. A file of that name is always complete. The phases of a save, each agreed
 * upon by all ranks: the root creates a file of a temporary name -> all ranks write their data, read them back and
 * force them to the disk -> the root adds checksums, flush, complete mark, flush, close, fsync -> reopen and check -> rename -> fsync
 * of the folder -> older ones are deleted. All of it may run in the background, while training goes on.
 *
 * Fault points of a save (qgalore/base/fault.h): checkpoint.begin, .snapshot, .laid_out, .data (after each dataset), .reread, .synced,
 * then on the root .flushed, .complete, .closed, .verified, .renamed, .rotated. For tests, QGALORE_CKPT_SLAB sets the bytes
 * that one checksum covers (default 64 MiB). */
#ifndef QGALORE_CKPT_H
#define QGALORE_CKPT_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/backend.h"
#include "qgalore/base/log.h"
#include "qgalore/base/state.h"
#include "qgalore/base/status.h"
#include "qgalore/par.h"

/* The run's small state: attributes of the file. */
typedef struct {
  int64_t step;        /* steps done: the next step to run */
  int64_t tokens;      /* tokens trained on */
  int64_t cursor;      /* sequences consumed */
  uint64_t seed;
  double elapsed;      /* seconds of training over all attempts */
  double last_loss;
  double last_grad_norm;      /* of the last step that was not skipped */
  double selftest_loss;       /* of the self-test's tokens with this state; NaN: none */
  /* Texts; on load owned by the qg_ckpt_file. NULL: empty. */
  const char *arrangement;    /* what computed selftest_loss */
  const char *history;        /* one line per attempt of the run */
  const char *resolved_input;
  const char *data;           /* which data the run is trained on; NULL in files of version 0.1.0 */
} qg_ckpt_meta;

typedef enum {
  QG_CKPT_SHARED,   /* all ranks write into one file */
  QG_CKPT_PER_RANK  /* each rank writes a file of its own, to which the HDF5 file refers */
} qg_ckpt_files;

typedef struct {
  const char *folder;
  int64_t keep_last;   /* newest so many stay, >= 1 */
  int64_t keep_every;  /* and those whose step is a multiple; 0: none */
  qg_ckpt_files files;
} qg_ckpt_options;

/* Writes <folder>/step-%010d.h5 and then deletes what keep_last and keep_every release of it and older ones. The root's
 * meta counts. Entries list the same datasets in the same order on all ranks, and every item has one owner. On failure
 * the older ones are untouched and the temporary file is removed. On every rank QG_ERR_RESOURCE (the disk is full or cannot be
 * written), QG_ERR_NUMERICAL (weights or moments are not finite) or QG_ERR_CHECKPOINT. Collective. */
qg_status qg_ckpt_save(qg_par *par, qg_backend *be, const qg_ckpt_options *options, const qg_ckpt_meta *meta,
                       const qg_state_entry *entries, int count);

/* A save under way, taken from phase to phase. In the background it has threads of its own, which use neither MPI nor the
 * backend, but HDF5: nobody may open a checkpoint before it has ended. */
typedef struct qg_ckpt_active_save qg_ckpt_active_save;

/* Host memory for a copy of what this rank writes; memory NULL or too small: none. */
typedef struct {
  void *memory;
  size_t bytes;
} qg_ckpt_snapshot;

/* Begins a save. It runs in the background if all ranks have room for a snapshot: what is on a device is copied before it
 * returns, the rest by a thread. Without, the state must not change before qg_ckpt_finish. `snapshot` and options->folder must
 * stay until the end of the save. On failure there is nothing to finish. Collective. */
qg_status qg_ckpt_begin(qg_par *par, qg_backend *be, const qg_ckpt_options *options, const qg_ckpt_meta *meta,
                        const qg_state_entry *entries, int count, qg_ckpt_snapshot snapshot, qg_ckpt_active_save **out);
/* Does it run in the background? The same on all ranks. Local. */
bool qg_ckpt_is_background(const qg_ckpt_active_save *save);
/* Waits until this rank's state is copied: to be called before it changes. Local. */
void qg_ckpt_await_copy(qg_ckpt_active_save *save);
/* Has this rank done its share of the phase? When all have, qg_ckpt_advance does not wait. Local. */
bool qg_ckpt_is_done(const qg_ckpt_active_save *save);
/* Waits for the phase under way and begins the next. At the end of the save, *ended, the result is that of qg_ckpt_save, `save` is
 * freed, and *seconds are what its phases took. Collective. */
qg_status qg_ckpt_advance(qg_ckpt_active_save *save, bool *ended, double *seconds);
/* Waits for the end of the save, with a result as there. Collective. */
qg_status qg_ckpt_finish(qg_ckpt_active_save *save, double *seconds);
/* Waits for this rank's threads and frees `save` without a checkpoint, for ends of a run that are not agreed upon. NULL is fine. Local. */
void qg_ckpt_abandon(qg_ckpt_active_save *save);

/* Bytes of the snapshot of a rank with these entries. Local. */
size_t qg_ckpt_snapshot_bytes(const qg_state_entry *entries, int count);

/* Sum of the bytes of all items of all datasets (the file is within 2 % of it). Local. */
int64_t qg_ckpt_bytes(const qg_state_entry *entries, int count);

/* Host memory that saving and loading touch at most on a rank with these entries. Local. */
size_t qg_ckpt_buffer_bytes(const qg_backend *be, const qg_state_entry *entries, int count);

/* What `run.restart` means for a folder. Writes the path of the newest checkpoint that is complete and undamaged into `path` ("" if
 * there is none), and logs each one that was refused and why. Every CRC is read. Collective. */
qg_status qg_ckpt_find(qg_par *par, const qg_log *log, const char *folder, char *path, size_t size);

/* The step of the newest checkpoint of a folder, sound or damaged; -1: there is none. Collective. */
qg_status qg_ckpt_newest(qg_par *par, const char *folder, int64_t *step);

/* Deletes the checkpoints after `step`, so that a run which goes on from there never takes up what it replaces. Collective. */
qg_status qg_ckpt_discard(qg_par *par, const char *folder, int64_t step);

typedef struct qg_ckpt_file qg_ckpt_file;

/* Opens a checkpoint and checks its complete mark and format version. QG_ERR_CHECKPOINT says what is wrong with it. Collective. */
qg_status qg_ckpt_open(qg_par *par, const char *path, qg_ckpt_file **out);
const qg_ckpt_meta *qg_ckpt_get_meta(const qg_ckpt_file *file);
/* Fills every entry with data != NULL (any partition: items are looked up by dataset and number), checking each CRC. A dataset
 * that is missing or has another type or shape is QG_ERR_CHECKPOINT naming both. What the file has and no entry asks for is
 * neither read nor checked: a list of the entries of "weights/" alone loads the weights of a training checkpoint, whatever
 * method trained them. Collective. */
qg_status qg_ckpt_load(qg_ckpt_file *file, qg_backend *be, const qg_state_entry *entries, int count);
void qg_ckpt_close(qg_ckpt_file *file);

/* Reads every byte against its CRC without loading. Local; for --verify and qgalore_ckpt. */
qg_status qg_ckpt_verify(const char *path);

#endif
