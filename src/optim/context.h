/* What all gradient sinks of a rank share: device, weights, options, the step at work, scratch, and the
 * solver of subspaces. */
#ifndef QG_OPTIM_CONTEXT_H
#define QG_OPTIM_CONTEXT_H

#include "optim/step_guard.h"
#include "qgalore/base/timer.h"
#include "qgalore/optim/options.h"
#include "qgalore/weights.h"

/* Device scratch, dead between calls except `projector`. scratch_layout.c tells what of it shares memory. */
typedef struct {
  float *statistics;    /* f32 [2, largest R]: the means and variances of moments */
  void *projector;      /* f32 or compute type, the largest P */
  const void *unpacked; /* whose P that is (projector.c), of unpacked_type; NULL: nobody's */
  qg_dtype unpacked_type;
  void *low_rank; /* compute type [tokens, rank]: X P^T or dY P; also the tokens of an implicit gradient */
  void *delta;    /* compute type, the largest R; also the block of an implicit gradient */
  qg_weight_staging update; /* rows of a projected-back update, dense deltas, fresh weights */
  float *mixed;             /* f32 [2, mixed_elements]: rows of statistics in the new basis */
  float *rotation;          /* f32 [2, rank * rank]: C and the squares of its elements */
  int64_t mixed_elements;
} qg_optim_scratch;

/* One step's numbers, the same for every parameter. */
typedef struct {
  float lr, grad_scale;
  double decay; /* lr * weight_decay */
} qg_step_rates;

typedef struct qg_refresher qg_refresher;

typedef struct {
  qg_mem *mem;
  qg_backend *be;
  qg_weights *weights;
  qg_optim_options options;
  qg_subspace_solver solver;
  int64_t tokens, micro_batches;
  int64_t step;
  qg_optim_scratch scratch;
  qg_step_guard guard;
  qg_refresher *refresher;
  qg_timers *timers; /* for what happens inside backward; NULL: nobody measures */
} qg_optim_context;

static inline void qg_optim_start(const qg_optim_context *o, qg_phase phase)
{
  if (o->timers) qg_timer_start(o->timers, phase);
}
static inline void qg_optim_stop(const qg_optim_context *o, qg_phase phase)
{
  if (o->timers) qg_timer_stop(o->timers, phase);
}

#endif
