/* Says where a run is while a step, a start or a validation takes long: a thread of rank 0 that looks at the
 * clock. */
#ifndef QG_TRAIN_HEARTBEAT_H
#define QG_TRAIN_HEARTBEAT_H

#include <stdint.h>

#include "qgalore/base/log.h"
#include "qgalore/base/timer.h"
#include "qgalore/model.h"

typedef struct qg_heartbeat qg_heartbeat;

/* Seconds without news after which it speaks: on a terminal, where it has a line that is written again, and
 * elsewhere. */
double qg_heartbeat_interval(const qg_log *log);

/* Starts the thread. log, timers and shape must outlive it. Local. */
qg_status qg_heartbeat_start(const qg_log *log, double interval, const qg_timers *timers,
                             const qg_model_shape *shape, qg_heartbeat **out);
/* `step` steps are done, and the log says so. NULL is fine. Local. */
void qg_heartbeat_feed(qg_heartbeat *heartbeat, int64_t step);
/* NULL is fine. Local. */
void qg_heartbeat_stop(qg_heartbeat *heartbeat);

#endif
