#include "qgalore/optim/learning_rate.h"

#include <math.h>

#include "qgalore/base.h"

/* lr (step + 1) / w: the first step already changes the weights. */
static double warmup_rate(const qg_schedule *s, int64_t step)
{
  return s->lr * (double)(step + !s->warmup_from_zero) / (double)s->warmup;
}

int64_t qg_schedule_decay_begins(const qg_schedule *s)
{
  if (s->kind == QG_SCHEDULE_CONSTANT) return INT64_MAX;
  if (s->kind != QG_SCHEDULE_WSD) return s->warmup;
  return qg_max_i64(s->warmup, s->steps - llround(s->decay_share * (double)s->steps));
}

/* 1 at the beginning of the decay, 0 at its end. */
static double remaining_share(qg_schedule_kind kind, double progress)
{
  const double pi = 3.14159265358979323846;
  switch (kind) {
    case QG_SCHEDULE_COSINE:
      return 0.5 * (1.0 + cos(pi * progress));
    /* Better than a line: Hägele et al., arXiv:2405.18392. */
    case QG_SCHEDULE_WSD:
      return 1.0 - sqrt(progress);
    default:
      return 1.0 - progress;
  }
}

double qg_learning_rate(const qg_schedule *s, int64_t step)
{
  int64_t begin = qg_schedule_decay_begins(s);
  if (step < s->warmup) return warmup_rate(s, step);
  if (step < begin) return s->lr;
  if (step >= s->steps) return s->lr * s->min_ratio;
  double progress = (double)(step - begin) / (double)(s->steps - begin);
  return s->lr * (s->min_ratio + (1.0 - s->min_ratio) * remaining_share(s->kind, progress));
}
