/* What the sinks have in common whose gradient lives in a subspace: projector, low-rank gradient, moments and
 * refresh tracker.
 *
 *   right (m >= n):  R = G P^T [m, rank],  update = scale * delta P
 *   left  (m <  n):  R = P^T G [rank, n],  update = scale * P delta        (doc/method.md, projection) */
#ifndef QG_OPTIM_PROJECTED_H
#define QG_OPTIM_PROJECTED_H

#include "optim/moments.h"
#include "optim/projector.h"
#include "qgalore/optim/tracker.h"

/* What a refresh is made from. */
typedef enum {
  QG_REFRESH_FULL,        /* G of one micro-batch, formed in memory that all matrices share */
  QG_REFRESH_IMPLICIT,    /* dY and X of one micro-batch; G is never formed */
  QG_REFRESH_ACCUMULATED, /* G of the whole step in memory of its own, solved at its end */
  QG_REFRESH_DISTRIBUTED  /* the same, solved by all ranks together */
} qg_refresh_route;

struct qg_projected {
  qg_grad_sink sink;
  qg_refresh_route route;
  qg_projector projector;
  int64_t rows, cols; /* of R */
  void *low_rank;     /* R: sink.type [rows, cols]; its own, or shared by the fused ones */
  float *full; /* G: f32, as the parameter; its own where it accumulates, or the one that others share */
  qg_moments moments;
  qg_tracker tracker;
  bool pending;     /* due at this step and not solved yet */
  bool accumulates; /* at this step G accumulates in `full` and is projected at the end */
};

static inline bool qg_projected_has_basis(const qg_projected *p)
{
  return p->tracker.last_refresh >= 0;
}
static inline qg_view qg_projected_full(const qg_projected *p)
{
  return qg_view_make(p->full, QG_F32, p->sink.param->rows, p->sink.param->cols);
}

qg_projected *qg_projected_of(qg_grad_sink *sink);

/* Fills what all of them have; `sink` but for its table. */
void qg_projected_init(qg_projected *p, const qg_grad_sink *sink, const qg_grad_sink_ops *ops,
                       qg_refresh_route route);
/* One that has no fields beyond these. */
qg_status qg_projected_create(const qg_grad_sink *sink, const qg_grad_sink_ops *ops, qg_refresh_route route,
                              qg_grad_sink **out);

/* R += project(dY^T X) without forming it, exact because matrix products associate:
 *   right: (dY^T X) P^T = dY^T (X P^T)      2 t r (m + n) FLOPs in place of 2 t m n
 *   left:  P^T (dY^T X) = (dY P)^T X */
qg_status qg_projected_add(qg_projected *p, qg_view dy, qg_view x);
/* low [tokens, rank] = operand P^T (right) or operand P (left), in the compute type. */
qg_status qg_projected_shrink(qg_projected *p, qg_view operand, qg_view *low);
/* R = project(G) + beta R, with the P that is stored. */
qg_status qg_projected_project(qg_projected *p, float beta);

/* Entries of their tables. */
qg_status qg_projected_take(qg_grad_sink *sink, qg_mem *mem);
void qg_projected_release(qg_grad_sink *sink, qg_mem *mem);
void qg_projected_measure(const qg_grad_sink *sink, qg_scratch_sizes *sizes);
void qg_projected_share(qg_grad_sink *sink, const qg_shared_gradients *shared);
qg_status qg_projected_reset(qg_grad_sink *sink);
qg_status qg_projected_list_state(qg_grad_sink *sink, qg_state_list *list);
qg_status qg_projected_state_loaded(qg_grad_sink *sink);
qg_view qg_projected_gradient(const qg_grad_sink *sink);
bool qg_projected_is_ready(const qg_grad_sink *sink);
qg_status qg_projected_apply(qg_grad_sink *sink, const qg_step_rates *rates);

#endif
