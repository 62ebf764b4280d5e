/* Disk space, reserved before it is needed. */
#ifndef QG_CKPT_PREALLOCATE_H
#define QG_CKPT_PREALLOCATE_H

#include <stdint.h>

#include "qgalore/base/status.h"

/* Reserves `bytes` for a file that exists, without changing its size. A full disk, an exceeded quota or a
 * limit is QG_ERR_RESOURCE and names path and bytes. Local. */
qg_status qg_ckpt_preallocate(const char *path, int64_t bytes);

#endif
