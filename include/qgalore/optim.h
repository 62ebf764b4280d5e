/* The optimizer: owns every weight, gradient accumulator, projector and moment of one stage, and turns
 * the (dY, X) pairs of backward into an update.
 *
 * One step:  begin -> (backward calls the port) -> finish_gradients -> norms -> apply.
 *
 * The four methods differ only in the policy of each parameter: how the weight is stored, whether the
 * gradient is projected, how the projector and the moments are stored. */
#ifndef QGALORE_OPTIM_H
#define QGALORE_OPTIM_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/linalg.h"
#include "qgalore/log.h"
#include "qgalore/memory.h"
#include "qgalore/model.h"
#include "qgalore/state.h"

typedef enum { QG_METHOD_ADAMW, QG_METHOD_ADAM8BIT, QG_METHOD_GALORE, QG_METHOD_QGALORE } qg_method;
typedef enum { QG_SIMILARITY_OVERLAP, QG_SIMILARITY_COSINE } qg_similarity;
typedef enum { QG_SAMPLE_BATCH, QG_SAMPLE_MICRO_BATCH } qg_sample;

/* Every difference from the reference code is a member; compat = reference sets them all (src/config). */
typedef struct {
  qg_method method;
  double beta1, beta2, eps, weight_decay;
  int moment_bits;         /* 8 or 32; tensors under 4096 elements keep 32 */
  int64_t moment_block;    /* elements per absmax of 8-bit moments */
  qg_dtype dense_type;     /* storage of unquantised weights: QG_F32 or QG_BF16 (then stochastic rounding per `stochastic`) */
  /* projected matrices */
  int64_t rank;
  double scale;
  int weight_bits;         /* 8: INT8 groups; 16, 32: dense */
  int projector_bits;      /* 4 or 32 */
  bool stochastic;         /* stochastic rounding when weights are stored */
  bool include_zero;       /* quantiser range contains 0 */
  bool bf16_arithmetic;    /* update arithmetic as in the reference */
  bool full_gradient;      /* form G, then project (reference); false: R = dY^T (X P^T) */
  qg_sample sample;        /* gradient that a refresh sees: the whole batch or its first micro-batch */
  /* lazy refresh */
  int64_t update_gap;      /* T at start, steps */
  bool lazy;
  qg_similarity similarity;
  double similarity_threshold;
  int similarity_window;   /* k */
  int64_t max_update_gap;  /* 0: no cap */
  qg_subspace_options subspace;
  uint64_t seed;
} qg_optim_options;

/* The lazy tracker of one matrix (algorithm.md section 4); plain data, checkpointed whole. */
enum { QG_TRACKER_WINDOW_MAX = 16 };
typedef struct {
  int64_t interval;     /* T, steps */
  int64_t last_refresh; /* step of the last refresh, -1 before the first */
  int64_t refreshes, saved; /* done, and skipped compared with refreshing every update_gap steps */
  int32_t count;        /* similarities in the queue */
  float queue[QG_TRACKER_WINDOW_MAX]; /* oldest first */
} qg_tracker;

void qg_tracker_init(qg_tracker *tracker, int64_t update_gap);
/* A refresh is due when there is no projector or step % interval == 0. */
bool qg_tracker_due(const qg_tracker *tracker, int64_t step);
/* Records a refresh at `step`; `similarity` is ignored at the first. Appends to the FIFO of `window`; full and mean >= threshold:
 * interval doubles, up to max_update_gap (0: no cap). */
void qg_tracker_refreshed(qg_tracker *tracker, int64_t step, double similarity, const qg_optim_options *options);

/* Learning rate of a step (from 0): linear warm-up k / warmup from 0, then cosine to min_ratio * lr at `steps`. */
double qg_schedule_lr(double lr, int64_t step, int64_t warmup, int64_t steps, double min_ratio);

typedef struct qg_optim qg_optim;

/* Takes everything from `mem` (dry or live). tokens = tokens per micro-batch (scratch sizes); micro_batches = per step. */
qg_status qg_optim_create(qg_mem *mem, qg_backend *be, const qg_model_shape *shape, const qg_partition *part,
                          const qg_optim_options *options, int64_t tokens, int64_t micro_batches, qg_optim **out);
void qg_optim_destroy(qg_optim *optim);

/* Fresh weights: N(0, 0.02), norms 1, keyed by (seed, parameter id, element): the same on every partition. */
qg_status qg_optim_init_weights(qg_optim *optim);

const qg_param_port *qg_optim_port(qg_optim *optim);

/* Zeroes accumulators and decides which matrices refresh at this step (0-based). */
qg_status qg_optim_begin(qg_optim *optim, int64_t step);
/* Ends micro-batch `index`, 0 <= index < micro_batches; more than the optimizer was made for is QG_ERR_RUNTIME. A projected
 * matrix gets one matrix_grad per micro-batch: with one micro-batch or `sample = micro_batch`, its first one refreshes it. */
qg_status qg_optim_end_micro_batch(qg_optim *optim, int64_t index);

/* Solves due subspaces, projects the gradients that waited for them. A failed subspace keeps the old basis and is counted; QG_ERR_NUMERICAL
 * only if there is no old one. */
qg_status qg_optim_finish_gradients(qg_optim *optim);

/* Tied embeddings: the two parts of the gradient, f32 [vocab, hidden], on each stage that holds the weight; empty views on
 * others. Lookups fill the embedding part, the head the head part. On several stages the caller overwrites the part that
 * this stage did not compute with the other stage's, between the last backward and qg_optim_norms; norms and apply then use
 * embedding part + head part, added once and in this order, so that bits do not depend on the partition. */
qg_status qg_optim_tied_gradients(qg_optim *optim, qg_view *embedding_part, qg_view *head_part);

/* sum_squares[id] of each parameter held here (others untouched) of the gradient that Adam will see. A tied
 * parameter is counted by the stage that holds the embedding. */
qg_status qg_optim_norms(qg_optim *optim, double *sum_squares);

/* Adam, project back, decay, requantise. grad_scale multiplies every gradient (clipping). Adam's t is the step + 1, also
 * after steps that were skipped. Decay applies to matrices, the embedding and the head among them, and not to norms (the
 * reference decays norms too; its default is 0). */
qg_status qg_optim_apply(qg_optim *optim, double lr, double grad_scale);

typedef struct {
  int64_t refreshes;       /* in the last step */
  int64_t total_refreshes, total_saved, failed_refreshes;
  double mean_energy;      /* of the last step's refreshes, 0 if none */
} qg_optim_stats;
qg_optim_stats qg_optim_get_stats(const qg_optim *optim);
/* The tracker of a projected parameter held here, or NULL. */
const qg_tracker *qg_optim_tracker(const qg_optim *optim, int param);

/* Everything to save, as state entries (state.h): the same list, in the same order, on every rank for a given shape and options;
 * entries not held here have data == NULL. Also works on a dry optimizer, for sizes. The array belongs to the optimizer. */
qg_status qg_optim_state(qg_optim *optim, const qg_state_entry **entries, int *count);
/* After the data of the entries was overwritten by a load: rebuilds what is derived from them. */
qg_status qg_optim_state_loaded(qg_optim *optim);

#endif
