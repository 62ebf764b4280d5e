/* Learning rate schedules (doc/method.md section 10). */
#ifndef QGALORE_OPTIM_LEARNING_RATE_H
#define QGALORE_OPTIM_LEARNING_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/spec/method.h"

typedef struct {
  qg_schedule_kind kind;
  double lr;             /* the highest rate, reached after the warm-up */
  double min_ratio;      /* cosine, linear and wsd end at min_ratio * lr */
  double decay_share;    /* wsd: share of `steps`, at their end, in which the rate falls */
  int64_t warmup, steps; /* constant does not look at `steps` */
  bool warmup_from_zero; /* the first step of the warm-up has rate 0, as in the published code */
} qg_schedule;

/* Learning rate of a step, counted from 0. Pure. */
double qg_learning_rate(const qg_schedule *schedule, int64_t step);
/* The step from which the rate falls; `steps` and beyond: never. Pure. */
int64_t qg_schedule_decay_begins(const qg_schedule *schedule);

#endif
