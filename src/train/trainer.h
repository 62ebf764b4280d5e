/* Everything that one rank holds of a training job. */
#ifndef QG_TRAIN_TRAINER_H
#define QG_TRAIN_TRAINER_H

#include "qgalore/base/log.h"
#include "qgalore/train.h"
#include "train/checkpoint_selftest.h"
#include "train/pipeline.h"
#include "train/tied.h"

/* Behind the sums of squares in qg_trainer.reduce. */
enum {
  QG_REDUCE_LOSS,
  QG_REDUCE_TARGETS,
  QG_REDUCE_VOTES,
  QG_REDUCE_REFRESHES,
  QG_REDUCE_FAILED,
  QG_REDUCE_SAVED,
  QG_REDUCE_STATE_MODIFIED,
  QG_REDUCE_EXTRA
};

struct qg_trainer {
  const qg_config *config;
  qg_backend *be;
  qg_par *par; /* NULL in a dry trainer */
  qg_mem *mem;
  int stage_index, stages;
  bool device_pointers; /* MPI reads and writes device memory */
  qg_partition part;
  qg_param_list params; /* of the whole model */
  qg_weights *weights;
  qg_optim *optim;
  qg_pipeline pipeline;
  qg_tied tied;
  double *reduce; /* host [parameters + QG_REDUCE_EXTRA] */
  double *shared; /* host [QG_SHARED_FIELDS * parameters]: what ranks tell about their refreshes */
  qg_refresh_record *refreshes; /* [parameters]: those of the last step, of all ranks */
  double clip_norm; /* gradient norm that fused updates clip by: the last finite one; 0: none yet */
  qg_tokens *train_tokens, *valid_tokens;
  int64_t data_begin; /* sequence of the run at which train_tokens begin: 0, unless they replaced others */
  qg_selftest selftest;
  qg_ckpt_snapshot snapshot; /* for saves beside training; empty: none */
  qg_ckpt_active_save *save; /* under way; NULL: none. The checkpoint writer's */
  qg_state_entry *state;     /* [state_count]: what qg_trainer_state gives */
  int state_count;
  qg_timers timers;
};

static inline bool qg_trainer_is_first(const qg_trainer *t)
{
  return t->part.has_embedding;
}
static inline bool qg_trainer_is_last(const qg_trainer *t)
{
  return t->part.has_head;
}

/* Everything to save, as qg_optim_state, and last the tokens of the self-test, if there is one. The array
 * belongs to the trainer. Local. */
qg_status qg_trainer_state(qg_trainer *t, const qg_state_entry **entries, int *count);

/* Fresh weights and an optimizer without history. Local. */
qg_status qg_trainer_start_fresh(qg_trainer *t);

/* After weights were initialised or loaded: what follows from them and from the gradient norm of the last
 * step (0 or NaN: none). Collective. */
qg_status qg_trainer_begin(qg_trainer *t, double last_grad_norm);

/* The device's seconds so far into the timers, where it keeps a clock. Waits for the device. Local. */
qg_status qg_trainer_read_clock(qg_trainer *t);

/* What one rank tells the others about a refresh of its own. */
enum { QG_SHARED_SIMILARITY, QG_SHARED_ENERGY, QG_SHARED_INTERVAL, QG_SHARED_METHOD, QG_SHARED_FIELDS };

#endif
