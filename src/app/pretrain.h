/* run.job = pretrain. */
#ifndef QG_APP_PRETRAIN_H
#define QG_APP_PRETRAIN_H

#include "app/session.h"

qg_status qg_pretrain_run(qg_session *session);

#endif
