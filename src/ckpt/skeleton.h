/* The HDF5 side of a save: the root lays out the file, all ranks write into the places, and the root
 * completes it. One process alone has the file open in HDF5: MPI-IO, where a write that fails on one rank
 * leaves the others waiting, takes no part. All local, for the root. */
#ifndef QG_CKPT_SKELETON_H
#define QG_CKPT_SKELETON_H

#include "ckpt/header.h"
#include "ckpt/parts.h"
#include "ckpt/plan.h"

/* Makes the file, its attributes (complete = 0) and all datasets, and fills the addresses of the plan. In the
 * layout per_rank the data are external, in the parts of `generation`. A full disk is QG_ERR_RESOURCE. */
qg_status qg_ckpt_skeleton_make(const char *path, const qg_ckpt_header *header, qg_ckpt_plan *plan,
                                const qg_ckpt_part *part);

/* Adds the checksums [plan->sums] and the mark, and forces the file to the disk. */
qg_status qg_ckpt_skeleton_complete(const char *path, const qg_ckpt_plan *plan, const uint32_t *sums);

/* Opens the file as a reader does: header, shapes, and that each dataset lies where it was written. */
qg_status qg_ckpt_skeleton_check(const char *path, const qg_ckpt_plan *plan);

#endif
