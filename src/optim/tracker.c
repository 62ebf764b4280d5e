#include "qgalore/optim/tracker.h"

/* Subspaces that stay put are refreshed less and less often. */
#include <math.h>
#include <string.h>

#include "qgalore/base.h"

void qg_tracker_init(qg_tracker *tracker, int64_t update_gap)
{
  memset(tracker, 0, sizeof *tracker);
  tracker->interval = update_gap;
  tracker->last_refresh = -1;
  tracker->phase = -1;
}

int64_t qg_tracker_phase(int index, int64_t update_gap)
{
  const double golden = 0.6180339887498949;
  double share = golden * (double)index - floor(golden * (double)index);
  return qg_min_i64((int64_t)(share * (double)update_gap), update_gap - 1);
}

/* How much later than an interval after the last refresh the next one is planned. */
static int64_t delay(const qg_tracker *tracker)
{
  return tracker->phase > 0 && tracker->refreshes == 1 ? tracker->phase : 0;
}

int64_t qg_tracker_next(const qg_tracker *tracker)
{
  int64_t last = tracker->last_refresh, interval = tracker->interval;
  if (last < 0) return 0;
  if (interval > INT64_MAX / 2 - last) return INT64_MAX;
  return tracker->phase < 0 ? (last / interval + 1) * interval : last + interval + delay(tracker);
}

/* A loaded queue may be longer than a window that was shortened since. */
static void append(qg_tracker *tracker, float similarity, int window)
{
  int kept = tracker->count < window ? tracker->count : window - 1;
  memmove(tracker->queue, tracker->queue + (tracker->count - kept), (size_t)kept * sizeof tracker->queue[0]);
  tracker->queue[kept] = similarity;
  tracker->count = kept + 1;
}

double qg_tracker_mean(const qg_tracker *tracker)
{
  double sum = 0.0;
  if (tracker->count == 0) return NAN;
  for (int i = 0; i < tracker->count; i++) sum += (double)tracker->queue[i];
  return sum / tracker->count;
}

/* A cap lower than the interval does not shorten it. */
static void lengthen(qg_tracker *tracker, int64_t cap)
{
  int64_t doubled = tracker->interval > INT64_MAX / 2 ? INT64_MAX : 2 * tracker->interval;
  tracker->interval = cap > 0 ? qg_min_i64(doubled, qg_max_i64(cap, tracker->interval)) : doubled;
}

static void adapt(qg_tracker *tracker, const qg_optim_options *options)
{
  double mean = qg_tracker_mean(tracker);
  if (!options->lazy || tracker->count < options->similarity_window) return;
  if (mean >= options->similarity_threshold) lengthen(tracker, options->max_update_gap);
  else if (mean < options->shrink_threshold && tracker->interval > options->update_gap)
    tracker->interval = qg_max_i64(tracker->interval / 2, options->update_gap);
}

void qg_tracker_refreshed(qg_tracker *tracker, int64_t step, double similarity,
                          const qg_optim_options *options)
{
  if (tracker->last_refresh >= 0) {
    tracker->saved += (step - delay(tracker) - tracker->last_refresh - 1) / options->update_gap;
    append(tracker, (float)similarity, options->similarity_window);
    adapt(tracker, options);
  }
  tracker->last_refresh = step;
  tracker->refreshes++;
}
