/* A gradient sink: what one parameter does with the gradients that backward hands out, and how they become an
 * update.
 *
 * One way of optimising is one file: dense.c, vector.c, tied.c, low_rank.c, accumulated.c, distributed.c. The
 * optimizer (optim.c) calls sinks through this table and knows none of them. A sink exists for parameters of
 * other ranks too, without memory: it tells what a checkpoint holds of them, and takes part in what all ranks
 * do together. */
#ifndef QG_OPTIM_SINK_H
#define QG_OPTIM_SINK_H

#include "optim/arrays.h"
#include "optim/context.h"
#include "optim/scratch_sizes.h"

typedef struct qg_grad_sink qg_grad_sink;
typedef struct qg_projected qg_projected;

/* Entries marked optional may be NULL. Of parameters that are not held only list_state, begin and projected
 * are called.
 */
typedef struct {
  const char *name;

  /* --- Memory and state --- */

  /* Takes its device memory from the ledger, and gives it back. */
  qg_status (*take)(qg_grad_sink *sink, qg_mem *mem);
  void (*release)(qg_grad_sink *sink, qg_mem *mem);
  /* Optional: what it asks of scratch, and the gradients that fused sinks share. */
  void (*measure)(const qg_grad_sink *sink, qg_scratch_sizes *sizes);
  void (*share)(qg_grad_sink *sink, const qg_shared_gradients *shared);
  /* As before the first step. */
  qg_status (*reset)(qg_grad_sink *sink);
  qg_status (*list_state)(qg_grad_sink *sink, qg_state_list *list);
  /* Optional: checks what a load has brought. A checkpoint is somebody's file. */
  qg_status (*state_loaded)(qg_grad_sink *sink);
  /* Optional: itself, if its gradient lives in a subspace (projected.h). */
  qg_projected *(*projected)(qg_grad_sink *sink);

  /* --- Gradients of a step --- */

  /* Clears what will be added to, and decides whether the subspace is due. Not held: only that. */
  qg_status (*begin)(qg_grad_sink *sink);
  /* Optional, by the kind of the parameter: as in qg_gradient_port. */
  qg_status (*add_matrix)(qg_grad_sink *sink, qg_view dy, qg_view x);
  qg_status (*add_rows)(qg_grad_sink *sink, const int32_t *ids, qg_view dx);
  float *(*vector)(qg_grad_sink *sink);
  /* Optional: whether this step will refresh the subspace inside backward. */
  bool (*refreshes_in_backward)(const qg_grad_sink *sink);
  /* Optional: all micro-batches are in. What got no gradient is zero. */
  qg_status (*finish)(qg_grad_sink *sink);
  /* Optional: projects what has waited for the subspace. */
  qg_status (*project)(qg_grad_sink *sink);
  /* Optional: adds up the parts of the gradient, once a step, before norms and apply. */
  qg_status (*combine)(qg_grad_sink *sink);
  /* The sum of micro-batches, linear in the gradient: the finite check looks at it, and replicas may add
   * theirs up. */
  qg_view (*accumulated)(const qg_grad_sink *sink);

  /* --- The update --- */

  /* What Adam sees, and the norm. */
  qg_view (*gradient)(const qg_grad_sink *sink);
  /* Optional: false where there is nothing to update by at this step. */
  bool (*is_ready)(const qg_grad_sink *sink);
  /* Adam, and the update of the weight. */
  qg_status (*apply)(qg_grad_sink *sink, const qg_step_rates *rates);
} qg_grad_sink_ops;

struct qg_grad_sink {
  const qg_grad_sink_ops *ops;
  qg_optim_context *o;
  const qg_param *param;
  int index;     /* of the parameter */
  bool fused;    /* updated inside backward, as soon as its gradient is complete; such sinks share memory */
  qg_dtype type; /* of what accumulates */
  bool fresh;    /* nothing of this step is in the gradient yet: its first product overwrites it */
};

static inline void qg_sink_name(const qg_grad_sink *sink)
{
  qg_backend_name(sink->o->be, sink->param->name);
}

/* 0 for the first product of a step, which overwrites what is there, 1 for others. */
static inline float qg_sink_keep(qg_grad_sink *sink)
{
  bool first = sink->fresh;
  sink->fresh = false;
  return first ? 0.0f : 1.0f;
}

/* c = a^T b + beta c */
static inline qg_status qg_multiply_transposed(qg_backend *be, qg_view a, qg_view b, float beta, qg_view c)
{
  qg_gemm_args gemm = {.a = a, .b = b, .c = c, .trans_a = true, .alpha = 1.0f, .beta = beta};
  return be->ops->gemm(be, &gemm);
}

static inline qg_status qg_sink_clear(qg_grad_sink *sink, qg_view gradient)
{
  sink->fresh = false;
  return sink->o->be->ops->zero(sink->o->be, gradient.data,
                                qg_dtype_bytes(gradient.type, gradient.rows * gradient.cols));
}

/* The finite guard of an update inside backward. Of a step that is over the host knows whether to update at
 * all. */
static inline const qg_finite_guard *qg_sink_guard(const qg_grad_sink *sink)
{
  return sink->fused ? qg_step_guard_device(&sink->o->guard) : NULL;
}

/* Updates the parameter from its gradient. Without anything to update by it stays as it is: requantising
 * would only add noise. */
static inline qg_status qg_sink_apply(qg_grad_sink *sink, const qg_step_rates *rates)
{
  qg_step_guard *guard = &sink->o->guard;
  qg_sink_name(sink);
  if (sink->ops->is_ready && !sink->ops->is_ready(sink)) return QG_OK;
  if (sink->fused) qg_step_guard_updated(guard);
  else
    guard->state_modified = true;
  QG_TRY(qg_weights_begin_update(sink->o->weights, sink->index));
  return sink->ops->apply(sink, rates);
}

#endif
