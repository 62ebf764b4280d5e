/* --check: what a job would need, without running it: partition, memory by owner and rank, and for training
 * traffic, bubble, checkpoint size and a time estimate. QG_ERR_INPUT if the ranks are too many. */
#ifndef QG_APP_CHECK_H
#define QG_APP_CHECK_H

#include "app/session.h"

/* Collective. */
qg_status qg_check_training(qg_session *session);
qg_status qg_check_evaluation(qg_session *session);

/* The memory table of one stage from its (dry or live) ledger. */
void qg_memory_print(const qg_log *log, const qg_backend *be, const qg_mem *mem);

#endif
