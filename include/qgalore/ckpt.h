/* Checkpoints: one HDF5 file for the whole job, written collectively, verified before it counts (doc/formats.md).
 *
 * A run keeps them in <folder>/step-0000001234.h5. Nothing partial ever bears that name: temporary name -> data ->
 * flush -> complete mark -> flush -> close -> agree -> reopen and check -> rename -> fsync of the folder.
 *
 * Fault points of a save (qgalore/fault.h): checkpoint.begin, .data (after each dataset), .flushed, .complete, .closed,
 * .verified, .renamed (root rank only), .rotated. For tests, QGALORE_CKPT_SLAB sets the bytes of a slab (the unit of
 * checksums and of each rank's part in a write; default 64 MiB). */
#ifndef QGALORE_CKPT_H
#define QGALORE_CKPT_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/backend.h"
#include "qgalore/log.h"
#include "qgalore/par.h"
#include "qgalore/state.h"
#include "qgalore/status.h"

/* The run's small state: attributes of the file. */
typedef struct {
  int64_t step;        /* steps done: the next step to run */
  int64_t tokens;      /* tokens trained on */
  int64_t cursor;      /* sequences consumed */
  uint64_t seed;
  double elapsed;      /* seconds of training over all attempts */
  double last_loss;
  double last_grad_norm;
  const char *resolved_input; /* text; on load owned by the qg_ckpt_file */
} qg_ckpt_meta;

typedef struct {
  const char *folder;
  int64_t keep_last;   /* newest so many stay, >= 1 */
  int64_t keep_every;  /* and those whose step is a multiple; 0: none */
} qg_ckpt_options;

/* Writes <folder>/step-%010d.h5 and then deletes what keep_last and keep_every release of it and older ones. The root's
 * meta counts. Entries list the same datasets in the same order on all ranks, and every item has one owner. On failure
 * the older ones are untouched and the temporary file is removed. QG_ERR_CHECKPOINT on every rank. Collective. */
qg_status qg_ckpt_save(qg_par *par, qg_backend *be, const qg_ckpt_options *options, const qg_ckpt_meta *meta,
                       const qg_state_entry *entries, int count);

/* Sum of the bytes of all items of all datasets (the file is within 2 % of it). Local. */
int64_t qg_ckpt_bytes(const qg_state_entry *entries, int count);

/* Host memory that saving and loading touch at most on a rank with these entries. Local. */
size_t qg_ckpt_buffer_bytes(const qg_state_entry *entries, int count);

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
 * that is missing or has another type or shape is QG_ERR_CHECKPOINT naming both. Collective. */
qg_status qg_ckpt_load(qg_ckpt_file *file, qg_backend *be, const qg_state_entry *entries, int count);
void qg_ckpt_close(qg_ckpt_file *file);

/* Reads every byte against its CRC without loading. Local; for --verify and qgalore_ckpt. */
qg_status qg_ckpt_verify(const char *path);

#endif
