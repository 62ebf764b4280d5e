/* One rank's stage of the pipeline at work: micro-batches pass through it, forward alone or forward and
 * backward. */
#ifndef QG_TRAIN_PIPELINE_H
#define QG_TRAIN_PIPELINE_H

#include "qgalore/train.h"
#include "train/channel.h"
#include "train/parameter_trace.h"

typedef struct {
  int32_t *host; /* [micro_batches * micro_batch, sequence_length] */
  int32_t *device;
} qg_token_batch;

/* What a step does around the passes. All calls are local; none for passes without gradients. */
typedef struct {
  void *context;
  void (*before_gradients)(void *context); /* from its first gradient on a step changes the state */
  qg_status (*incoming)(void *context, qg_view gradient);           /* enters the backward of a micro-batch */
  qg_status (*end_micro_batch)(void *context, int64_t micro_batch); /* its backward is done */
} qg_pipeline_hooks;

typedef struct {
  qg_mem *mem;
  qg_backend *be;
  qg_par *par; /* NULL: memory is only planned */
  const qg_model_shape *shape;
  qg_partition part;
  int index, stages;        /* of this stage */
  bool device_pointers;     /* MPI reads and writes device memory */
  int micro_batches;        /* a step, or at most at once */
  qg_stage_options options; /* slots: filled in by qg_pipeline_create */
  qg_timers *timers;
} qg_pipeline_request;

typedef struct {
  qg_pipeline_request use;
  int64_t micro_tokens; /* tokens of one micro-batch */
  qg_stage *stage;
  qg_parameter_trace trace; /* what the stage reads, and hands gradients out to */
  qg_pipeline_hooks hooks;
  qg_op *schedule; /* [2 * micro_batches]; NULL: forward only */
  qg_channel forward_in, forward_out, backward_in, backward_out;
  qg_view d_out;                  /* gradient of this stage's output as it arrives; empty on the last stage */
  qg_token_batch inputs, targets; /* first stage, last stage; NULL elsewhere */
  double *loss;                   /* device f64 [1], last stage: the sum of token losses */
} qg_pipeline;

static inline bool qg_pipeline_is_first(const qg_pipeline *p)
{
  return p->use.part.has_embedding;
}
static inline bool qg_pipeline_is_last(const qg_pipeline *p)
{
  return p->use.part.has_head;
}

/* The part of stage `index` of `stages`, as the input asks for. QG_ERR_INPUT where that is not possible.
 * Local. */
qg_status qg_pipeline_part(const qg_config *config, int index, int stages, qg_partition *out);

/* It must stay where it is: channels and trace point into it. What the request and the two ports point to
 * must outlive it. Takes the memory of the stage and of its messages. gradients NULL: evaluation alone
 * (options.forward_only). Destroy it also after a failure. Local. */
qg_status qg_pipeline_create(const qg_pipeline_request *request, const qg_weight_reader *weights,
                             const qg_gradient_port *gradients, qg_pipeline *p);
void qg_pipeline_destroy(qg_pipeline *p);
/* Tables in device memory. Once, live. */
qg_status qg_pipeline_init(qg_pipeline *p);

/* Opens a token file where this stage reads tokens: on the first and the last; else *tokens is NULL. `seed`
 * is for random tokens. Local, but rank 0 holds the first stage on every arrangement, so that everyone can
 * hear of a bad file. */
qg_status qg_pipeline_open_tokens(const qg_pipeline *p, const char *path, uint64_t seed, qg_tokens **tokens);
/* The token buffers' host memory to the device; nothing on stages that have none. */
qg_status qg_pipeline_upload(const qg_pipeline *p);
qg_status qg_pipeline_clear_loss(const qg_pipeline *p);
qg_status qg_pipeline_read_loss(const qg_pipeline *p, double *loss); /* 0 but on the last stage */

/* Runs the schedule of one step over the batch in the token buffers. grad_scale = 1 / targets of the batch.
 * Collective over the pipeline. */
qg_status qg_pipeline_run(qg_pipeline *p, float grad_scale);
/* Forward only over `micro_batches` micro-batches of the same buffers; adds to the loss. Collective over the
 * pipeline. */
qg_status qg_pipeline_evaluate(qg_pipeline *p, int micro_batches);

#endif
