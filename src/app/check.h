/* --check: what a run would need, without running it. */
#ifndef QG_APP_CHECK_H
#define QG_APP_CHECK_H

#include "qgalore/backend.h"
#include "qgalore/base/log.h"
#include "qgalore/config.h"
#include "qgalore/memory.h"

/* Prints partition, memory by owner and rank, traffic, bubble, checkpoint size and FLOPs for `ranks` ranks.
 * gemm_flops: of one rank, for the time estimate. QG_ERR_INPUT if the ranks are too many. Local. */
qg_status qg_check_print(const qg_log *log, const qg_config *config, qg_backend *be, int ranks,
                         double gemm_flops);

/* The memory table of one stage from its (dry or live) ledger. */
void qg_memory_print(const qg_log *log, const qg_backend *be, const qg_mem *mem);

#endif
