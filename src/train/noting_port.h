/* The optimizer's port with a note of the parameter that was asked for last, for those who ask where this
 * rank is. */
#ifndef QG_TRAIN_NOTING_PORT_H
#define QG_TRAIN_NOTING_PORT_H

#include "qgalore/base/timer.h"
#include "qgalore/model.h"

typedef struct {
  const qg_param_port *inner;
  qg_timers *timers; /* whose `parameter` is the note */
  qg_param_port port;
} qg_noting_port;

/* Both must outlive it. Local. */
void qg_noting_port_make(const qg_param_port *inner, qg_timers *timers, qg_noting_port *out);

#endif
