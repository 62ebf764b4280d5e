/* The lazy tracker: when the subspace of a matrix is refreshed. */
#ifndef QGALORE_OPTIM_TRACKER_H
#define QGALORE_OPTIM_TRACKER_H

#include "qgalore/optim/options.h"

/* The lazy tracker of one matrix (doc/method.md section 7); plain data, checkpointed but for `phase`. */
typedef struct {
  int64_t interval;     /* T, steps */
  int64_t last_refresh; /* step of the last refresh, -1 before the first */
  int64_t refreshes, saved; /* done, and skipped compared with refreshing every update_gap steps */
  int32_t count;        /* similarities in the queue */
  float queue[QG_TRACKER_WINDOW_MAX]; /* oldest first */
  int64_t phase;        /* >= 0: the second refresh is that much late, and all count from the last one; -1: multiples of T */
} qg_tracker;

/* Not staggered: phase -1. */
void qg_tracker_init(qg_tracker *tracker, int64_t update_gap);
/* The phase of matrix `index` of the model: 0 .. update_gap - 1, spread evenly over any run of consecutive matrices
 * (fractional parts of multiples of the golden ratio). Pure. */
int64_t qg_tracker_phase(int index, int64_t update_gap);
/* The step from which the next refresh is due: at once without a projector; phase -1: the next multiple of the interval;
 * else an interval after the last refresh, the first time `phase` later. A refresh that fails stays due. */
int64_t qg_tracker_next(const qg_tracker *tracker);
static inline bool qg_tracker_due(const qg_tracker *tracker, int64_t step) { return step >= qg_tracker_next(tracker); }
/* Records a refresh at `step`; `similarity` is ignored at the first. Appends to the FIFO of `window`; when that is full: mean >=
 * threshold doubles the interval, up to max_update_gap (0: no cap); mean < shrink_threshold halves it, down to update_gap. */
void qg_tracker_refreshed(qg_tracker *tracker, int64_t step, double similarity, const qg_optim_options *options);
/* Mean of the queue, NaN when it is empty. */
double qg_tracker_mean(const qg_tracker *tracker);

/* One refresh of the last step. */
typedef struct {
  int param;
  double similarity;       /* with the subspace before, NaN at the first */
  double energy;
  int64_t interval;        /* T from here on */
  qg_subspace_method used;
} qg_refresh_record;

/* Subspaces of this run beside the singular vectors of the same gradients. */
typedef struct {
  int64_t count;
  double lost_energy; /* the most that one captured less than the best, as a share of that */
  double overlap;     /* the least ||C||_F^2 / rank; below 1 also where singular values around the rank are alike */
} qg_subspace_validation;

#endif
