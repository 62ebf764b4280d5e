/* What the files of the optimizer share: one record per parameter, the scratch, and the steps between them.
 */
#ifndef QG_OPTIM_INTERNAL_H
#define QG_OPTIM_INTERNAL_H

#include "qgalore/base.h"
#include "qgalore/optim.h"

/* How one parameter is stored and optimised: all that the four methods differ in. */
typedef struct {
  bool projected;               /* the gradient lives in `rank` directions */
  bool int8;                    /* weight in INT8 groups, else dense */
  qg_dtype type;                /* of a dense weight */
  bool int4;                    /* packed projector, else f32 */
  bool moments8;                /* moments in 8-bit blocks, else f32 */
  bool decays;                  /* weight decay applies */
  qg_side side;                 /* of the projection */
  int64_t rank;                 /* 0 unless projected */
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
  float *grad;          /* f32 [grad_rows, grad_cols] */
  float *head_grad;     /* f32 [rows, cols]: what the head adds to a tied embedding; NULL otherwise */
  float *full;          /* f32 [rows, cols]: G; its own until finish, or the one that all matrices share */
  qg_optim_moments moments;
  qg_tracker tracker;
  bool refresh_pending;  /* due at this step and not solved yet */
  bool accumulates_full; /* at this step G gathers in `full` and is projected at finish */
} qg_optim_param;

/* Device scratch, dead between calls except `weight`. */
typedef struct {
  void *weight;    /* compute type, the largest weight that is not stored so */
  void *projector; /* f32 or compute type, the largest P */
  void *low_rank;  /* compute type [tokens, rank]: X P^T or dY P */
  void *delta;     /* compute type, the largest R */
  float *update;   /* f32 [update_elements]: rows of a projected-back update, dense deltas, fresh weights */
  float *update_host; /* its host twin; `update` itself in unified memory */
  int64_t update_elements;
  double *sums; /* device f64 [parameters] */
} qg_optim_scratch;

/* Memory for solving up to `slots` subspaces in one call; host-readable f32 unless said otherwise. */
typedef struct {
  int slots;
  int64_t basis_stride, gradient_stride, rank_stride; /* largest P, projected matrix and rank, in elements */
  float *previous, *basis;                            /* [slots, basis_stride] */
  float *singular_values;                             /* [slots, rank_stride] */
  float *gradients;                                   /* [slots, gradient_stride]; NULL in unified memory */
  void *workspace;
  size_t workspace_bytes;
  qg_subspace_job *jobs;    /* [slots] */
  qg_optim_param **pending; /* [slots] */
} qg_optim_refresher;

struct qg_optim {
  qg_mem *mem;
  qg_backend *be;
  qg_model_shape shape;
  qg_partition part;
  qg_optim_options options;
  int64_t tokens, micro_batches;
  qg_optim_param *params; /* [param_count], by global id; those not held are described only */
  int param_count;
  bool keeps_full; /* each matrix accumulates its own G over the micro-batches until finish */
  qg_optim_scratch scratch;
  qg_optim_refresher refresher;
  double *host_sums; /* [param_count] */
  qg_param_port port;
  int64_t step;
  bool tied_added; /* the head's part was added to the embedding's at this step */
  int64_t failed_refreshes, step_refreshes;
  double step_energy; /* sum over the step's refreshes */
  qg_state_entry *entries;
  int entry_count;
};

enum { QG_OPTIM_CHUNK = 1 << 20 }; /* elements of an update that are alive at once, about */

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
  return qg_view_make(p->grad, QG_F32, p->policy.grad_rows, p->policy.grad_cols);
}
/* The next gradient of this matrix has to be formed, not only its projection. */
static inline bool qg_optim_needs_full(const qg_optim *optim, const qg_optim_param *p)
{
  return p->policy.projected && (optim->options.full_gradient || p->refresh_pending);
}

/* policy.c */
qg_optim_policy qg_optim_choose_policy(const qg_optim_options *options, const qg_param *param);
/* The weight must be converted or dequantised into scratch before a GEMM can read it. */
bool qg_optim_wants_weight_scratch(const qg_optim *optim, const qg_optim_param *p);

/* store.c, scratch.c: everything that qg_optim_create takes from the ledger. */
qg_status qg_optim_take_store(qg_optim *optim);
qg_status qg_optim_take_scratch(qg_optim *optim);

/* chunks.c: parts of a parameter that can be updated on their own. */
int64_t qg_optim_chunk_rows(int64_t rows, int64_t cols);          /* whole INT8 groups, or all rows */
int64_t qg_optim_chunk_elements(const qg_optim_options *options); /* whole moment blocks */
qg_int8_store qg_optim_codes_from(qg_int8_store store, int64_t first);

/* weights.c: weights as the model reads them. */
qg_status qg_optim_read(void *impl, int id, qg_view *out);
qg_status qg_optim_read_rows(void *impl, int id, int64_t first, int64_t count, qg_view *out);
/* After norms changed: their copies in the compute type. */
qg_status qg_optim_convert_vectors(qg_optim *optim);

/* port.c */
qg_param_port qg_optim_make_port(qg_optim *optim);

/* optim.c: a parameter held here, or QG_ERR_RUNTIME. */
qg_status qg_optim_find(qg_optim *optim, int id, qg_optim_param **out);

/* projector.c: P as a device matrix of a type, and between device and host. */
qg_status qg_optim_projector_read(qg_optim *optim, const qg_optim_param *p, qg_dtype type, qg_view *out);
qg_status qg_optim_projector_fetch(qg_optim *optim, const qg_optim_param *p, float *host);
qg_status qg_optim_projector_store(qg_optim *optim, const qg_optim_param *p, const float *host);
/* R = project(G) + beta R, with the P that is stored. */
qg_status qg_optim_project(qg_optim *optim, const qg_optim_param *p, float beta);

/* refresh.c */
/* Solves the subspaces of the G of `count` <= slots parameters in refresher.pending. */
qg_status qg_optim_refresh(qg_optim *optim, int count);
/* In waves of `slots`: every parameter whose refresh is pending. */
qg_status qg_optim_refresh_pending(qg_optim *optim);

/* norms.c */
/* embedding part += head part, once a step. */
qg_status qg_optim_add_tied(qg_optim *optim);

#endif
