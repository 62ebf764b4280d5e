/* A parameter port that passes every call on and notes which parameter it was about. The watchdog reports
 * that parameter. */
#ifndef QG_TRAIN_PARAMETER_TRACE_H
#define QG_TRAIN_PARAMETER_TRACE_H

#include "qgalore/model.h"
#include "qgalore/timer.h"

typedef struct {
  const qg_param_port *inner;
  qg_timers *timers; /* its member `parameter` is set */
  qg_param_port port;
} qg_parameter_trace;

/* Both must outlive it. Local. */
void qg_parameter_trace_make(const qg_param_port *inner, qg_timers *timers, qg_parameter_trace *out);

#endif
