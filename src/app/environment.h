#ifndef QG_APP_ENVIRONMENT_H
#define QG_APP_ENVIRONMENT_H

#include "qgalore/base/status.h"

/* QG_ERR_INPUT for a variable QGALORE_X whose X is nearly that of one that the program, its job scripts or
 * its tests know. Others are somebody's own, as modules set them. Local. */
qg_status qg_environment_check(void);

#endif
