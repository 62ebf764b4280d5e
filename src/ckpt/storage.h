/* Where a dataset keeps its bytes, in a file of unknown origin. All local. */
#ifndef QG_CKPT_STORAGE_H
#define QG_CKPT_STORAGE_H

#include "ckpt/open_file.h"

/* Checks that a dataset is a contiguous table of numbers, all of whose bytes are there: in the file, or in
 * rank files beside it. This bounds every loop and buffer that follows. */
qg_status qg_ckpt_storage_check(const qg_ckpt_file *file, const char *name, hid_t data, size_t element_bytes,
                                hsize_t shape[2]);

/* How datasets are opened: rank files are searched beside the file. Release it. */
qg_status qg_ckpt_storage_access(const char *path, hid_t *out);

#endif
