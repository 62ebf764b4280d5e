/* What a stage reads weights through and hands gradients out to, with a note of the parameter that was asked
 * for last: for those who ask where this rank is. */
#ifndef QG_TRAIN_PARAMETER_TRACE_H
#define QG_TRAIN_PARAMETER_TRACE_H

#include "qgalore/base/timer.h"
#include "qgalore/spec/param.h"

typedef struct {
  const qg_weight_reader *inner_weights;
  const qg_gradient_port *inner_gradients; /* NULL: there are no gradients */
  qg_timers *timers;                       /* whose `parameter` is the note */
  qg_weight_reader weights;
  qg_gradient_port gradients;
} qg_parameter_trace;

/* All must outlive it, and it must stay where it is. Local. */
void qg_parameter_trace_make(const qg_weight_reader *weights, const qg_gradient_port *gradients,
                             qg_timers *timers, qg_parameter_trace *out);

#endif
