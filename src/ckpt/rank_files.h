/* The rank files of a folder (layout per_rank): raw bytes to which the datasets of the HDF5 file beside them
 * refer. A save takes a generation that its step does not have, so that it never writes into what a whole
 * checkpoint refers to. All local. */
#ifndef QG_CKPT_RANK_FILES_H
#define QG_CKPT_RANK_FILES_H

#include "ckpt/names.h"

/* A generation of this step that no file has. */
int qg_ckpt_unused_generation(const char *folder, int64_t step);

/* Deletes the rank files of the step whose generation is another than `keep`; keep < 0: all of them. */
void qg_ckpt_rank_files_delete(const char *folder, int64_t step, int keep);
/* Deletes those of steps that have no checkpoint. */
void qg_ckpt_rank_files_delete_orphans(const char *folder);

#endif
