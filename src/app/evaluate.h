/* run.job = evaluate: loss, perplexity and bits per byte of a checkpoint over token files. */
#ifndef QG_APP_EVALUATE_H
#define QG_APP_EVALUATE_H

#include "app/session.h"

qg_status qg_evaluate_run(qg_session *session);

#endif
