/* The HDF5 side of a save: the root creates the file with all its objects, all ranks write their items at the
 * addresses that HDF5 assigned, and the root completes the file. Only one process has it open in HDF5: with
 * MPI-IO a write that fails on one rank would leave the others waiting. All local, for the root. */
#ifndef QG_CKPT_H5_FILE_H
#define QG_CKPT_H5_FILE_H

#include "ckpt/header.h"
#include "ckpt/names.h"
#include "ckpt/placement.h"

/* Creates the file, its attributes (complete = 0) and all datasets, and fills the addresses of the placement.
 * In the layout per_rank the data are external, in `rank_files`. A full disk is QG_ERR_RESOURCE. */
qg_status qg_ckpt_h5_file_create(const char *path, const qg_ckpt_header *header, qg_ckpt_placement *placement,
                                 const qg_ckpt_rank_files *rank_files);

/* Adds the checksums [placement->sums] and complete = 1, and forces the file to the disk. */
qg_status qg_ckpt_h5_file_complete(const char *path, const qg_ckpt_placement *placement,
                                   const uint32_t *sums);

/* Opens the file as a reader does: header, shapes, and that each dataset lies where it was written. */
qg_status qg_ckpt_h5_file_check(const char *path, const qg_ckpt_placement *placement);

#endif
