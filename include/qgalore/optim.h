/* The optimizer: what becomes of the gradients of one stage.
 *
 * Each parameter has a gradient sink, which owns its accumulator, projector and moments; weights are the business of
 * qgalore/weights.h.
 *
 * One step:  begin -> (backward calls the port) -> finish_gradients -> refresh_distributed -> norms -> apply.
 *
 * Accumulated: gradients of the micro-batches add up, and apply updates everything. Fused: with one micro-batch a step, a
 * matrix is updated as soon as its gradient is complete, and all of them share the memory of that. What waits for others is
 * left to apply: norms, tied embeddings, and what accumulates the gradient that a refresh sees.
 *
 * The four methods differ only in the sink of each parameter and in the format of its weight. */
#ifndef QGALORE_OPTIM_H
#define QGALORE_OPTIM_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/base/state.h"
#include "qgalore/base/timer.h"
#include "qgalore/linalg.h"
#include "qgalore/memory.h"
#include "qgalore/optim/learning_rate.h"
#include "qgalore/optim/options.h"
#include "qgalore/optim/tracker.h"
#include "qgalore/par.h"
#include "qgalore/spec/param.h"
#include "qgalore/weights.h"

typedef struct qg_optim qg_optim;

typedef struct {
  qg_mem *mem; /* dry or live */
  qg_backend *be;
  qg_param_list params; /* the whole model's; the array stays the caller's and must outlive the optimizer */
  qg_weights *weights;  /* of the same parameters; gets its scratch from the optimizer */
  qg_optim_options options;
  const qg_subspace_solver *solver; /* of subspaces that one rank solves on the host; NULL: qg_subspace_host_solver */
  const bool *frozen;               /* [params.count]: true where there is no sink: no gradient, projector or moments; NULL: nowhere */
  bool thaws;                       /* frozen ones may be thawed: scratch is taken for them too */
  int64_t tokens, micro_batches;    /* tokens per micro-batch (scratch sizes), micro-batches per step */
} qg_optim_request;

qg_status qg_optim_create(const qg_optim_request *request, qg_optim **out);
void qg_optim_destroy(qg_optim *optim);

/* As before the first step: moments and projectors are zero, no matrix was ever refreshed. Weights stay as they are. */
qg_status qg_optim_reset(qg_optim *optim);
/* Memory in which fresh weights may pass, between steps (qg_weights_initialise). */
const qg_weight_staging *qg_optim_staging(const qg_optim *optim);

/* Between steps: a parameter is not trained from here on; its gradient, projector and moments leave the memory. Of one that is frozen: no
 * effect. And back, as before its first step; QG_ERR_RUNTIME unless request.thaws. What qg_optim_state has given is void after either. Where
 * memory was reserved, what is frozen has to make room for what is thawed. No save may be under way (qg_ckpt_await_copy), and a
 * checkpoint needs a parameter of all layers or of none. Where all ranks solve together, qg_optim_share_schedule has to follow a thaw. On
 * every rank for the same parameters. Local. */
qg_status qg_optim_freeze(qg_optim *optim, int param);
qg_status qg_optim_thaw(qg_optim *optim, int param);

const qg_gradient_port *qg_optim_port(qg_optim *optim);

/* Subspaces and updates inside backward become phases of their own in `timers`. */
void qg_optim_set_timers(qg_optim *optim, qg_timers *timers);

/* Zeroes accumulators and decides which matrices refresh at this step (0-based). */
qg_status qg_optim_begin(qg_optim *optim, int64_t step);
/* Rates of the updates that happen in backward (fused): as in qg_optim_apply. After begin. */
void qg_optim_set_rates(qg_optim *optim, double lr, double grad_scale);
/* Looks at the gradient that enters this stage, before the micro-batch's backward, where this step acts in backward. If it is not finite,
 * nothing reaches any state from here on, and norms are NaN. A fused update whose gradient is not finite does the same: updates that
 * backward had made before it in this step stay (qg_optim_state_modified). Nobody waits: the device decides. */
qg_status qg_optim_check_incoming(qg_optim *optim, qg_view gradient);
/* Whether this step changes state before all its gradients are known: fused updates, or refreshes from one micro-batch. */
bool qg_optim_acts_in_backward(const qg_optim *optim);
/* Whether anything of this step has reached what qg_optim_state lists: a subspace, a fused update. Between qg_optim_norms and
 * qg_optim_apply it tells if the step can still be skipped without a trace. */
bool qg_optim_state_modified(const qg_optim *optim);
/* Ends micro-batch `index`, 0 <= index < micro_batches; more than the optimizer was made for is QG_ERR_RUNTIME. A matrix of
 * a layer gets one product per micro-batch; the first one refreshes it unless its gradient is accumulated until finish: with
 * `sample = batch` and several micro-batches, for embedding and head, and where all ranks solve together. */
qg_status qg_optim_end_micro_batch(qg_optim *optim, int64_t index);

/* Solves due subspaces, projects the gradients that waited for them; if one of this stage's gradients is not finite, nothing of
 * the step reaches any state instead. A subspace that fails keeps the old basis and is counted; without an
 * old one the matrix is not updated at this step. Both stay due. */
qg_status qg_optim_finish_gradients(qg_optim *optim);

/* Where options.distributed_min asks for it: the ranks tell each other who holds which wide matrix and when it is due. Before the first
 * step, and after loading. Collective; nothing is sent if no matrix is that wide. */
qg_status qg_optim_share_schedule(qg_optim *optim, qg_par *par);
/* All ranks solve the wide matrices that are due at this step, owners project the gradients that waited. Steps in which none is due
 * send nothing. A subspace that fails is tried by its owner alone. After finish_gradients. Collective. */
qg_status qg_optim_refresh_distributed(qg_optim *optim, qg_par *par);

/* Tied embeddings: the two parts of the gradient, f32 [vocab, hidden], on each stage that holds the weight; empty views on
 * others. Lookups fill the embedding part, the head the head part. On several stages the caller overwrites the part that
 * this stage did not compute with the other stage's, between the last backward and qg_optim_norms; norms and apply then use
 * embedding part + head part, added once and in this order, so that bits do not depend on the partition. */
qg_status qg_optim_tied_gradients(qg_optim *optim, qg_view *embedding_part, qg_view *head_part);

/* sum_squares[param] of each parameter that is held here and not frozen (others untouched) of the gradient that Adam will see. A tied
 * parameter is counted by the stage that holds the embedding. */
qg_status qg_optim_norms(qg_optim *optim, double *sum_squares);

/* Adam, project back, decay, requantise. grad_scale multiplies every gradient (clipping). Adam's t is the step + 1, also
 * after steps that were skipped. Decay applies to matrices, the embedding and the head among them, and not to norms (the
 * reference decays norms too; its default is 0). */
qg_status qg_optim_apply(qg_optim *optim, double lr, double grad_scale);

typedef struct {
  int64_t refreshes, failed; /* in the last step */
  int64_t total_refreshes, total_saved, failed_refreshes;
  double mean_energy;        /* of the last step's refreshes, 0 if none */
} qg_optim_stats;
qg_optim_stats qg_optim_get_stats(const qg_optim *optim);

/* What validate_subspaces has found in this run. */
qg_subspace_validation qg_optim_validation(const qg_optim *optim);

/* Those of the last step; the array belongs to the optimizer. */
const qg_refresh_record *qg_optim_refreshes(const qg_optim *optim, int *count);
/* The tracker of a projected parameter held here, or NULL. */
const qg_tracker *qg_optim_tracker(const qg_optim *optim, int param);

/* How a parameter that is held here is optimised, and where its gradient is; device memory of the optimizer. */
typedef struct {
  const char *sink;    /* "dense", "low rank", "accumulated full gradient", "distributed", "vector", "tied"; NULL: it is not trained */
  bool fused;          /* updated inside backward */
  qg_view gradient;    /* what Adam sees: R or G */
  qg_view accumulated; /* what this step adds up: R or G */
  int64_t rank;        /* 0 unless projected */
  qg_side side;
} qg_sink_info;
qg_sink_info qg_optim_sink_info(const qg_optim *optim, int param);

/* Everything to save, as state entries (state.h): the same list, in the same order, on every rank for a given shape, options and frozen parameters;
 * entries not held here have data == NULL. Also works on a dry optimizer, for sizes. The array belongs to the optimizer. */
qg_status qg_optim_state(qg_optim *optim, const qg_state_entry **entries, int *count);
/* After the data of the entries was overwritten by a load: rebuilds what is derived from them. */
qg_status qg_optim_state_loaded(qg_optim *optim);

#endif
