/* Everything that one rank holds of a training job. */
#ifndef QG_TRAIN_TRAINER_H
#define QG_TRAIN_TRAINER_H

#include "qgalore/base/log.h"
#include "qgalore/train.h"
#include "train/channel.h"
#include "train/noting_port.h"
#include "train/probe.h"

/* Tags of the messages between stages. */
enum { QG_TAG_FORWARD = 1, QG_TAG_BACKWARD = 2, QG_TAG_TIED = 3, QG_TAG_PROBE = 4, QG_TAG_TRANSPORT = 5 };

typedef struct {
  int32_t *host; /* [global_batch, sequence_length] */
  int32_t *device;
} qg_token_batch;

struct qg_trainer {
  const qg_config *config;
  qg_backend *be;
  qg_par *par; /* NULL in a dry trainer */
  qg_mem *mem;
  int stage_index, stages;
  bool device_pointers; /* MPI reads and writes device memory */
  int micro_batches;    /* per step */
  int64_t micro_tokens; /* tokens of one micro-batch */
  qg_partition part;
  qg_stage *stage;
  qg_optim *optim;
  qg_noting_port port; /* of optim, for the model */
  qg_op *schedule;     /* [2 * micro_batches] */
  qg_channel forward_in, forward_out, backward_in, backward_out;
  qg_view d_out; /* gradient of this stage's output as it arrives; empty on the last stage */
  qg_transfer *tied_sending, *tied_receiving;
  void *tied_buffer;              /* host, two chunks, unless MPI sees the tied gradients themselves */
  qg_token_batch inputs, targets; /* first stage, last stage; NULL elsewhere */
  double *loss;                   /* device f64 [1], last stage */
  double *reduce;                 /* host [parameters + QG_REDUCE_EXTRA] */
  double *shared; /* host [QG_SHARED_FIELDS * parameters]: what ranks tell about their refreshes */
  qg_refresh_record *refreshes; /* [parameters]: those of the last step, of all ranks */
  double clip_norm; /* gradient norm that fused updates clip by: the last finite one; 0: none yet */
  qg_tokens *train_tokens, *valid_tokens;
  qg_probe probe;
  qg_ckpt_snapshot snapshot; /* for saves beside training; empty: none */
  qg_ckpt_pending *save;     /* under way; NULL: none. The saver's */
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

/* A channel of messages of `tokens` tokens to or from stage `peer`; none where the pipeline ends. */
qg_status qg_trainer_open_channel(qg_trainer *t, int peer, int tag, bool receives, int64_t tokens,
                                  qg_channel *channel);

/* Everything to save, as qg_optim_state, and the probe. The array belongs to the trainer. Local. */
qg_status qg_trainer_state(qg_trainer *t, const qg_state_entry **entries, int *count);

/* After weights were initialised or loaded: what follows from them and from the gradient norm of the last
 * step (0 or NaN: none). Collective. */
qg_status qg_trainer_begin(qg_trainer *t, double last_grad_norm);

/* The device's seconds so far into the timers, where it keeps a clock. Waits for the device. Local. */
qg_status qg_trainer_read_clock(qg_trainer *t);

/* What one rank tells the others about a refresh of its own. */
enum { QG_SHARED_SIMILARITY, QG_SHARED_ENERGY, QG_SHARED_INTERVAL, QG_SHARED_METHOD, QG_SHARED_FIELDS };

/* Runs the schedule of one step over the batch in t->inputs and t->targets. grad_scale = 1 / targets of the
 * batch. Collective over the pipeline. */
qg_status qg_pipeline_run(qg_trainer *t, float grad_scale);
/* Forward only over `micro_batches` micro-batches of the same buffers; adds to t->loss. Collective over the
 * pipeline. */
qg_status qg_pipeline_evaluate(qg_trainer *t, int micro_batches);

/* The buffer and the messages of an exchange; nothing on stages that have none. */
qg_status qg_tied_create(qg_trainer *t);
void qg_tied_destroy(qg_trainer *t);
/* Tied embeddings: the first and the last stage swap their parts of the gradient. Collective over the two;
 * no-op elsewhere. */
qg_status qg_tied_exchange(qg_trainer *t);

#endif
