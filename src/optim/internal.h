/* What the files of the optimizer share: one record per parameter, the scratch, and the steps between them.
 */
#ifndef QG_OPTIM_INTERNAL_H
#define QG_OPTIM_INTERNAL_H

#include "qgalore/base.h"
#include "qgalore/optim.h"

/* Where the subspace of a projected matrix comes from. */
typedef enum {
  QG_ROUTE_FORMED,     /* G of one micro-batch, formed in memory that all matrices share */
  QG_ROUTE_PAIR,       /* dY and X of one micro-batch; G is never formed */
  QG_ROUTE_GATHERED,   /* G of the whole step in memory of its own, solved at finish */
  QG_ROUTE_DISTRIBUTED /* the same, solved by all ranks together */
} qg_optim_route;

/* How one parameter is stored and optimised: all that the four methods differ in. */
typedef struct {
  bool projected;       /* the gradient lives in `rank` directions */
  bool int8;            /* weight in INT8 groups, else dense */
  qg_dtype type;        /* of a dense weight */
  bool int4;            /* packed projector, else f32 */
  bool moments8;        /* moments in 8-bit blocks, else f32 */
  bool decays;          /* weight decay applies */
  qg_optim_route route; /* of a refresh */
  bool fused;           /* updated in backward; such matrices share the memory of their gradients (arena.c) */
  qg_dtype grad_type;   /* of what accumulates */
  qg_side side;         /* of the projection */
  int64_t rank;         /* 0 unless projected */
  int64_t grad_rows, grad_cols; /* of what Adam sees: R or G */
} qg_optim_policy;

/* First and second moment in one of two forms; the other form's pointers are NULL. */
typedef struct {
  float *m, *v;               /* f32 [grad elements] */
  uint8_t *m_codes, *v_codes; /* [grad elements] */
  float *m_absmax, *v_absmax; /* f32 [ceil(grad elements / moment_block)] */
} qg_optim_moments;

/* One parameter. Device memory belongs to the ledger; all of it NULL when dry or not held here. */
typedef struct {
  qg_param info;
  qg_optim_policy policy;
  bool held;
  qg_int8_store codes;  /* policy.int8: elements = rows * cols */
  void *values;         /* else: policy.type [rows, cols] */
  void *compute_values; /* vectors: [cols] in the compute type; `values` itself if that has the type */
  qg_int4_store packed; /* policy.int4: P, [rank, cols] (right) or [rows, rank] (left) */
  float *basis;         /* else: the same, f32 */
  void *grad;           /* policy.grad_type [grad_rows, grad_cols]; its own, or shared by the fused ones */
  float *head_grad;     /* f32 [rows, cols]: what the head adds to a tied embedding; NULL otherwise */
  float *full; /* f32 [rows, cols]: G; its own where it gathers, or the one that others share; NULL: pair */
  qg_optim_moments moments;
  qg_tracker tracker;
  bool refresh_pending;  /* due at this step and not solved yet */
  int owner;             /* distributed: the rank that holds it; -1: not known yet */
  int64_t next_refresh;  /* distributed: due from this step on, the same number on all ranks */
  bool fresh;            /* nothing of this step is in `grad` yet: its first product overwrites it */
  bool accumulates_full; /* at this step G gathers in `full` and is projected at finish */
} qg_optim_param;

/* The weight that is read next, where the backend unpacks asynchronously (ahead.c). */
typedef struct {
  void *weight; /* as large as scratch.weight, with which it changes places; NULL: reads unpack */
  int param;    /* what is unpacked in it, or will be at `done`; -1: nothing */
  qg_event *before, *done;
} qg_optim_ahead;

/* Device scratch, dead between calls except `projector` and `weight`, which holds while the model reads it:
 * until the next read, or until matrix_grad of a layer's matrix. arena.c tells what of it shares memory. */
typedef struct {
  void *weight;                   /* compute type, the largest weight that is not stored so */
  float *statistics;              /* f32 [2, largest R]: the means and variances of moments */
  void *projector;                /* f32 or compute type, the largest P */
  const qg_optim_param *unpacked; /* whose P that is, of unpacked_type; NULL: nobody's */
  qg_dtype unpacked_type;
  void *low_rank; /* compute type [tokens, rank]: X P^T or dY P; also the tokens of a pair */
  void *delta;    /* compute type, the largest R; also the block of a pair */
  float *update;  /* f32 [update_elements]: rows of a projected-back update, dense deltas, fresh weights */
  float *update_host; /* its host twin; `update` itself in unified memory */
  int64_t update_elements;
  float *mixed;    /* f32 [2, mixed_elements]: rows of them in the new basis */
  float *rotation; /* f32 [2, rank * rank]: C and the squares of its elements */
  int64_t mixed_elements;
  double *sums; /* device f64 [parameters], and what gate.c keeps behind them */
} qg_optim_scratch;

/* Largest over the parameters held here, in elements unless said otherwise. */
typedef struct {
  int64_t weight; /* that needs a copy in the compute type */
  int64_t basis, delta, rank, full;
  int64_t formed;                 /* of G in memory that all share */
  int64_t fused;                  /* of R that all fused ones share */
  size_t dense_bytes;             /* of G that all fused ones that are not projected share */
  int64_t pair_block, pair_count; /* of a pair: block directions times the long side, and the directions */
  int64_t mixed;                  /* rows of rotated moments at once */
  int64_t update;                 /* rows or elements updated at once */
  int projected;                  /* how many */
  int waiting;                    /* of these gather and are solved in waves */
  int int8;                       /* how many are unpacked to be read */
  bool head_in_scratch;           /* the loss reads the head from scratch.weight */
} qg_optim_extents;

/* Memory for solving up to `slots` subspaces in one call; host-readable f32 unless said otherwise. */
typedef struct {
  int slots;
  int64_t basis_stride, gradient_stride, rank_stride; /* largest P, projected matrix and rank, in elements */
  float *previous, *basis;                            /* [slots, basis_stride] */
  float *singular_values;                             /* [slots, rank_stride] */
  float *gradients;                                   /* [slots, gradient_stride]; NULL in unified memory */
  float *rotation; /* [2, rank_stride^2] host twin of scratch.rotation; the same in unified memory */
  void *workspace;
  size_t workspace_bytes;
  void *device_workspace; /* of a device that solves subspaces; NULL: there is none */
  size_t device_workspace_bytes;
  float *device_basis; /* device [2, basis_stride]: a new basis, and what validates it */
  void *distributed;   /* [distributed_bytes]: this rank's part of a solution by all ranks */
  size_t distributed_bytes;
  qg_subspace_job *jobs;    /* [slots] */
  qg_optim_param **pending; /* [slots] */
} qg_optim_refresher;

/* One step's numbers, the same for every parameter. */
typedef struct {
  float lr, grad_scale;
  double decay; /* lr * weight_decay */
} qg_step_rates;

struct qg_optim {
  qg_mem *mem;
  qg_backend *be;
  qg_model_shape shape;
  qg_partition part;
  qg_optim_options options;
  int64_t tokens, micro_batches;
  qg_optim_param *params; /* [param_count], by global id; those not held are described only */
  int param_count;
  bool keeps_full; /* layer matrices gather G over the micro-batches until finish */
  qg_optim_scratch scratch;
  qg_optim_ahead ahead;
  qg_optim_refresher refresher;
  qg_gradient_pair pair;
  double *host_sums; /* host twin of scratch.sums */
  qg_param_port port;
  int64_t step;
  bool tied_added;      /* the head's part was added to the embedding's at this step */
  bool discarded;       /* the step's gradient is known not to be finite: nothing of it may reach any state */
  bool touched;         /* something of the step is known to have reached the state */
  int64_t noted;        /* sums that the guard was shown in this step */
  int64_t first_update; /* how many these were at the first update in backward; 0: there was none */
  qg_step_rates rates;  /* of fused updates */
  int64_t failed_refreshes;
  qg_refresh_record *records; /* [param_count] of this step */
  int step_refreshes, step_failed;
  qg_subspace_validation validation;
  qg_timers *timers; /* for what happens inside backward; NULL: nobody measures */
  qg_state_entry *entries;
  int entry_count;
};

static inline int64_t qg_optim_elements(const qg_optim_param *p)
{
  return p->info.rows * p->info.cols;
}
static inline int64_t qg_optim_grad_elements(const qg_optim_param *p)
{
  return p->policy.grad_rows * p->policy.grad_cols;
}
static inline int64_t qg_optim_basis_elements(const qg_optim_param *p)
{
  return p->policy.rank * qg_min_i64(p->info.rows, p->info.cols);
}
static inline int64_t qg_optim_moment_blocks(const qg_optim *optim, const qg_optim_param *p)
{
  return qg_ceil_div(qg_optim_grad_elements(p), optim->options.moment_block);
}
static inline bool qg_optim_is_vector(const qg_optim_param *p)
{
  return !qg_role_is_matrix(p->info.role);
}
static inline bool qg_optim_is_tied(const qg_optim *optim, const qg_optim_param *p)
{
  return optim->shape.tie_embeddings && p->info.role == QG_ROLE_EMBED;
}
static inline qg_view qg_optim_grad_view(const qg_optim_param *p)
{
  return qg_view_make(p->grad, p->policy.grad_type, p->policy.grad_rows, p->policy.grad_cols);
}
static inline bool qg_optim_gathers(const qg_optim_param *p)
{
  return p->policy.projected && p->policy.route >= QG_ROUTE_GATHERED;
}
static inline bool qg_optim_has_projector(const qg_optim_param *p)
{
  return p->tracker.last_refresh >= 0;
}
/* The next gradient of this matrix has to be formed, not only its projection. */
static inline bool qg_optim_needs_full(const qg_optim *optim, const qg_optim_param *p)
{
  bool refreshes = p->refresh_pending && p->policy.route != QG_ROUTE_PAIR;
  return p->policy.projected && (optim->options.full_gradient || refreshes);
}

/* The operations that follow are about this parameter. */
static inline void qg_optim_name(const qg_optim *optim, const qg_optim_param *p)
{
  qg_backend_name(optim->be, p->info.name);
}

static inline void qg_optim_start(const qg_optim *optim, qg_phase phase)
{
  if (optim->timers) qg_timer_start(optim->timers, phase);
}
static inline void qg_optim_stop(const qg_optim *optim, qg_phase phase)
{
  if (optim->timers) qg_timer_stop(optim->timers, phase);
}

/* policy.c */
qg_optim_policy qg_optim_choose_policy(const qg_optim *optim, const qg_param *param);
/* The weight must be converted or dequantised into scratch before a GEMM can read it. */
bool qg_optim_wants_weight_scratch(const qg_optim *optim, const qg_optim_param *p);

/* store.c, scratch.c: everything that qg_optim_create takes from the ledger. */
qg_status qg_optim_take_store(qg_optim *optim);
qg_status qg_optim_take_scratch(qg_optim *optim);
/* arena.c: the part of it whose pieces share memory, after the solvers were measured. */
qg_status qg_optim_take_arena(qg_optim *optim, const qg_optim_extents *e);

/* chunks.c: parts of a parameter that can be updated on their own. */
/* About backend->update_elements, but whole groups, or all rows. */
int64_t qg_optim_chunk_rows(const qg_optim *optim, int64_t rows, int64_t cols, int64_t group);
int64_t qg_optim_chunk_elements(const qg_optim *optim); /* the same in whole moment blocks */
qg_int8_store qg_optim_codes_from(qg_int8_store store, int64_t first);
qg_optim_moments qg_optim_moments_from(const qg_optim_options *options, const qg_optim_param *p,
                                       int64_t first); /* a multiple of the moment block */

/* weights.c: weights as the model reads them. */
qg_status qg_optim_read(void *impl, int id, qg_view *out);
qg_status qg_optim_read_rows(void *impl, int id, int64_t first, int64_t count, qg_view *out);
/* After norms changed: their copies in the compute type. */
qg_status qg_optim_convert_vectors(qg_optim *optim);

/* ahead.c: events, where the arena holds a next weight. */
qg_status qg_optim_open_ahead(qg_optim *optim);
void qg_optim_close_ahead(qg_optim *optim);
qg_status qg_optim_prefetch(void *impl, int id);
/* *found: scratch.weight holds the weight, for what is queued from here on. */
qg_status qg_optim_take_prefetched(qg_optim *optim, const qg_optim_param *p, bool *found);
/* Before the codes of p change. */
qg_status qg_optim_forget_prefetched(qg_optim *optim, const qg_optim_param *p);
/* Before anything else is written where weights lie. */
qg_status qg_optim_drop_prefetched(qg_optim *optim);

/* gate.c */
size_t qg_optim_sums_bytes(const qg_optim *optim);
qg_finite_guard *qg_optim_guard(const qg_optim *optim); /* device */
qg_status qg_optim_guard_begin(qg_optim *optim);
/* *sum (device) = the sum of squares, which the guard notes. */
qg_status qg_optim_guard_note(qg_optim *optim, qg_view gradient, double *sum);
/* An update that asks the guard is queued, behind the gradient noted last. */
void qg_optim_guard_updated(qg_optim *optim);
/* Waits for the device: host_sums, and what the guard has to say of this step. */
qg_status qg_optim_read_sums(qg_optim *optim);

/* port.c */
qg_param_port qg_optim_make_port(qg_optim *optim);

/* optim.c: a parameter held here, which operations are about from then on; or QG_ERR_RUNTIME. */
qg_status qg_optim_find(qg_optim *optim, int id, qg_optim_param **out);
qg_status qg_optim_clear_grad(qg_optim *optim, qg_optim_param *p);

/* projector.c: P as a device matrix of a type, stored from one, and between device and host. */
void qg_optim_projector_forget(qg_optim *optim); /* what lies unpacked in scratch */
qg_status qg_optim_projector_keep(qg_optim *optim, const qg_optim_param *p, const float *device);
qg_status qg_optim_projector_read(qg_optim *optim, const qg_optim_param *p, qg_dtype type, qg_view *out);
qg_status qg_optim_projector_fetch(qg_optim *optim, const qg_optim_param *p, float *host);
qg_status qg_optim_projector_store(qg_optim *optim, const qg_optim_param *p, const float *host);
/* R = project(G) + beta R, with the P that is stored. */
qg_status qg_optim_project(qg_optim *optim, const qg_optim_param *p, float beta);

/* apply.c: the update of one parameter from its gradient. */
qg_status qg_optim_apply_param(qg_optim *optim, const qg_optim_param *p, const qg_step_rates *rates);

/* refresh.c */
/* Solves the subspaces of the gradients of `count` <= slots parameters in refresher.pending: from G, or from
 * the pair. */
qg_status qg_optim_refresh(qg_optim *optim, int count, const qg_gradient_pair *pair);
/* The seed of random vectors for this refresh. */
uint64_t qg_optim_refresh_seed(const qg_optim *optim, const qg_optim_param *p);
/* Counts and records a refresh. similarity: with the basis before, NaN at the first. */
void qg_optim_note_refresh(qg_optim *optim, qg_optim_param *p, double similarity, double energy,
                           qg_subspace_method used);
/* Fills slot `slot` of the refresher for its pending parameter. */
qg_status qg_optim_prepare_job(qg_optim *optim, int slot, const qg_gradient_pair *pair);
/* Takes over what the slot's job found, or keeps the old basis. */
qg_status qg_optim_accept_job(qg_optim *optim, int slot);
/* In waves of `slots`: every parameter whose refresh is pending. */
qg_status qg_optim_refresh_pending(qg_optim *optim);

/* device_refresh.c, for backends that solve subspaces themselves */
/* How much workspace they want; 0 for others. */
void qg_optim_measure_device_solver(qg_optim *optim);
/* Takes memory for their bases. */
qg_status qg_optim_take_device_bases(qg_optim *optim);
/* Refreshes a parameter whose gradient is on the device, where all of it stays; *done false: the host has to
 * solve it. */
qg_status qg_optim_refresh_on_device(qg_optim *optim, qg_optim_param *p, bool *done);

/* rotate.c: moments of p into the basis that scratch.rotation leads to. On the host's side the change of
 * basis is in refresher.rotation, and qg_optim_place_rotation brings it there. */
bool qg_optim_rotates(const qg_optim *optim, const qg_optim_param *p);
qg_status qg_optim_place_rotation(qg_optim *optim, int64_t rank);
qg_status qg_optim_rotate_moments(qg_optim *optim, const qg_optim_param *p);

/* norms.c */
/* embedding part += head part, once a step. */
qg_status qg_optim_add_tied(qg_optim *optim);
/* Discards the step if a gradient of this stage is not finite. */
qg_status qg_optim_look_at_gradients(qg_optim *optim);

#endif
