#ifndef QGALORE_OPTIM_LEARNING_RATE_H
#define QGALORE_OPTIM_LEARNING_RATE_H

#include <stdint.h>

/* Learning rate of a step (from 0): linear warm-up k / warmup from 0, then cosine to min_ratio * lr at `steps`. */
double qg_learning_rate(double lr, int64_t step, int64_t warmup, int64_t steps, double min_ratio);

#endif
