/* --status: how a run stands, from its folder alone. */
#ifndef QG_APP_STATUS_H
#define QG_APP_STATUS_H

#include <stdio.h>

#include "qgalore/base/status.h"

/* QG_ERR_INPUT if `folder` is not a run's. Local; the run may be training meanwhile. */
qg_status qg_status_print(FILE *out, const char *folder);

#endif
