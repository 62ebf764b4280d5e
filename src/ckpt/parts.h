/* The files of the layout per_rank: beside step-0000001234.h5 lie step-0000001234.h5.GENERATION.rank-RANK,
 * raw bytes to which the datasets of the HDF5 file refer. A save takes a generation that its step does not
 * have, so that it never writes into what a whole checkpoint refers to. All local. */
#ifndef QG_CKPT_PARTS_H
#define QG_CKPT_PARTS_H

#include "ckpt/folder.h"

/* The parts of one save; the rank is added by qg_ckpt_part_name. */
typedef struct {
  int64_t step;
  int generation;
} qg_ckpt_part;

enum { QG_CKPT_PART_NAME = 64 };

/* Its name within the folder, as the HDF5 file has it. */
void qg_ckpt_part_name(const qg_ckpt_part *part, int rank, char name[QG_CKPT_PART_NAME]);
qg_status qg_ckpt_part_path(const char *folder, const qg_ckpt_part *part, int rank, char path[QG_CKPT_PATH]);
/* Is `name` that of a part? Fills `part`. */
bool qg_ckpt_part_parse(const char *name, qg_ckpt_part *part);

/* A generation of this step that no file has. */
int qg_ckpt_part_unused(const char *folder, int64_t step);

/* Deletes the parts of the step whose generation is another than `keep`; keep < 0: all of them. */
void qg_ckpt_part_delete(const char *folder, int64_t step, int keep);
/* Deletes the parts of steps that have no checkpoint. */
void qg_ckpt_part_delete_orphans(const char *folder);

#endif
