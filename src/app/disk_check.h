/* Whether the disk has room for the checkpoints of a training: told before it begins. */
#ifndef QG_APP_DISK_CHECK_H
#define QG_APP_DISK_CHECK_H

#include "qgalore/base/log.h"
#include "qgalore/base/status.h"
#include "qgalore/config.h"

/* `bytes`: of one checkpoint. Says when checkpoints are written, what they need, and what is free. QG_ERR_RESOURCE
 * if not one fits, unless this is a plan; a warning if there is no room for all that are kept. Rank 0. */
qg_status qg_disk_check(const qg_config *config, int64_t bytes, bool plan, const qg_log *log);

#endif
