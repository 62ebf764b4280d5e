/* The optimizer's port with a note of the parameter that was asked for last, for those who ask where this
 * rank is. */
#ifndef QG_TRAIN_PARAMETER_TRACE_H
#define QG_TRAIN_PARAMETER_TRACE_H

#include "qgalore/model.h"
#include "qgalore/timer.h"

typedef struct {
  const qg_param_port *inner;
  qg_timers *timers; /* whose `parameter` is the note */
  qg_param_port port;
} qg_parameter_trace;

/* Both must outlive it. Local. */
void qg_parameter_trace_make(const qg_param_port *inner, qg_timers *timers, qg_parameter_trace *out);

#endif
