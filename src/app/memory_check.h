/* Whether a job fits into the memory of its nodes: told before anything is allocated, since Linux grants what
 * it does not have and kills later. */
#ifndef QG_APP_MEMORY_CHECK_H
#define QG_APP_MEMORY_CHECK_H

#include "app/dry_run.h"
#include "qgalore/base/log.h"
#include "qgalore/config.h"
#include "qgalore/par.h"
#include "qgalore/train.h"

/* The plans of the ranks of each node against its memory: QG_ERR_RESOURCE where it has less, a warning where
 * less is available at present. Host memory; that of devices is taken in one piece. advice: keys that
 * make this job smaller. Collective. */
qg_status qg_memory_check(const qg_config *config, qg_par *par, qg_backend *be, qg_dry_run_job job,
                          const char *advice, const qg_log *log);

#endif
