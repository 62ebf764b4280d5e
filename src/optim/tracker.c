/* The lazy tracker: subspaces that stay put are refreshed less and less often. */
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/optim.h"

void qg_tracker_init(qg_tracker *tracker, int64_t update_gap)
{
  memset(tracker, 0, sizeof *tracker);
  tracker->interval = update_gap;
  tracker->last_refresh = -1;
}

bool qg_tracker_due(const qg_tracker *tracker, int64_t step)
{
  return tracker->last_refresh < 0 || step % tracker->interval == 0;
}

/* A loaded queue may be longer than a window that was shortened since. */
static void append(qg_tracker *tracker, float similarity, int window)
{
  int kept = tracker->count < window ? tracker->count : window - 1;
  memmove(tracker->queue, tracker->queue + (tracker->count - kept), (size_t)kept * sizeof tracker->queue[0]);
  tracker->queue[kept] = similarity;
  tracker->count = kept + 1;
}

static double mean(const qg_tracker *tracker)
{
  double sum = 0.0;
  for (int i = 0; i < tracker->count; i++) sum += (double)tracker->queue[i];
  return sum / tracker->count;
}

/* A cap lower than the interval does not shorten it: T never shrinks. */
static void lengthen(qg_tracker *tracker, int64_t cap)
{
  int64_t doubled = tracker->interval > INT64_MAX / 2 ? INT64_MAX : 2 * tracker->interval;
  tracker->interval = cap > 0 ? qg_min_i64(doubled, qg_max_i64(cap, tracker->interval)) : doubled;
}

void qg_tracker_refreshed(qg_tracker *tracker, int64_t step, double similarity,
                          const qg_optim_options *options)
{
  if (tracker->last_refresh >= 0) {
    tracker->saved += (step - tracker->last_refresh - 1) / options->update_gap;
    append(tracker, (float)similarity, options->similarity_window);
    bool steady =
        tracker->count == options->similarity_window && mean(tracker) >= options->similarity_threshold;
    if (options->lazy && steady) lengthen(tracker, options->max_update_gap);
  }
  tracker->last_refresh = step;
  tracker->refreshes++;
}
