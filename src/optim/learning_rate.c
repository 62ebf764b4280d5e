#include "qgalore/optim/learning_rate.h"

#include <math.h>

double qg_learning_rate(double lr, int64_t step, int64_t warmup, int64_t steps, double min_ratio)
{
  const double pi = 3.14159265358979323846;
  if (step < warmup) return lr * (double)step / (double)warmup;
  if (step >= steps) return lr * min_ratio;
  double progress = (double)(step - warmup) / (double)(steps - warmup);
  return lr * (min_ratio + (1.0 - min_ratio) * 0.5 * (1.0 + cos(pi * progress)));
}
