/* Models: their parameters, the partition over pipeline stages, and one stage's forward and backward.
 *
 * A model knows shapes and formulas. It reads weights through a qg_weight_reader and hands out gradients through a qg_gradient_port,
 * and knows neither what is behind these nor the ranks around it. */
#ifndef QGALORE_MODEL_H
#define QGALORE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/backend.h"
#include "qgalore/base/status.h"
#include "qgalore/memory.h"
#include "qgalore/spec/model_shape.h"
#include "qgalore/spec/param.h"

int qg_model_param_count(const qg_model_shape *shape);
/* Parameter `index` of the whole model; held and owned are false. */
qg_param qg_model_param(const qg_model_shape *shape, int index);
int64_t qg_model_parameters(const qg_model_shape *shape); /* elements of all */

/* FLOPs of one token, forward and backward without recomputation, in the convention of the log:
 * 6 N + 6 L C T, N = matrix parameters without the input embedding, with the head; C = hidden_size,
 * T = sequence_length (causal attention counts half; doc/method.md section 12). */
double qg_model_flops_per_token(const qg_model_shape *shape, int64_t sequence_length);

/* What one pipeline stage holds. */
typedef struct {
  int first_layer, num_layers; /* num_layers may be 0 */
  bool has_embedding;          /* the first stage */
  bool has_head;               /* the last stage: final norm, head, loss */
  double cost;                 /* FLOPs per token, for the table of --check */
} qg_partition;

/* Splits the model into `stages` contiguous parts so that the most expensive is as cheap as possible, in FLOPs per
 * token. Pieces are the embedding, each layer, and norm + head + loss; every stage gets at least one piece, so
 * stages <= num_layers + 2; more is QG_ERR_INPUT naming the largest. With overrides (layers_per_stage, an array of
 * `stages` counts, or NULL) those are used; the sum must be num_layers, and only the first and the last may be 0. Local, deterministic. */
qg_status qg_model_partition(const qg_model_shape *shape, int64_t sequence_length, int stages,
                             const int64_t *layers_per_stage, qg_partition *out);
/* All parameters of the model as a rank with this part sees them. Free list->params. Local. */
qg_status qg_model_params(const qg_model_shape *shape, const qg_partition *part, qg_param_list *out);

typedef struct {
  int64_t micro_batch;     /* sequences */
  int64_t sequence_length;
  int64_t logit_chunk_tokens; /* tokens whose logits are alive at once */
  bool checkpointing;      /* keep only layer inputs, recompute the rest in backward */
  bool offload;            /* with checkpointing, where the device has memory of its own: layer inputs wait on the host */
  int slots;               /* micro-batches in flight on this stage, >= 1 */
  bool graphs;             /* replay forward passes of layers, where the backend can */
  bool forward_only;       /* no backward will follow: no memory for one; with one slot */
} qg_stage_options;

/* What a stage with these options asks of its backend, for qg_backend_reserve. Local. */
qg_workload qg_stage_workload(const qg_model_shape *shape, const qg_stage_options *options);

typedef struct qg_stage qg_stage;

/* Takes all activations and scratch from `mem` (dry or live). */
qg_status qg_stage_create(qg_mem *mem, qg_backend *be, const qg_model_shape *shape,
                          const qg_partition *part, const qg_stage_options *options, qg_stage **out);
void qg_stage_destroy(qg_stage *stage);
/* Tables (rotary) that live in device memory. Once, after a live create. */
qg_status qg_stage_init(qg_stage *stage);

/* Where the input of a slot lies: [tokens, hidden], compute type. The pipeline receives into it. Unused on the first stage. */
qg_view qg_stage_input(const qg_stage *stage, int slot);

/* One micro-batch through this stage. ids (device int32 [tokens]) are read on the first stage. The result (layer output,
 * [tokens, hidden], compute type) is in *out until the next call of any stage function; *out is empty on the last stage. */
qg_status qg_stage_forward(qg_stage *stage, const qg_weight_reader *weights, int slot, const int32_t *ids, qg_view *out);
/* The same where no backward follows: nothing is offloaded for one. */
qg_status qg_stage_evaluate(qg_stage *stage, const qg_weight_reader *weights, int slot, const int32_t *ids, qg_view *out);

/* The parts of a layer that add to the residual stream. */
typedef enum { QG_SUBLAYER_ATTENTION, QG_SUBLAYER_MLP } qg_sublayer;
/* Whether an evaluation leaves out a sub-layer; `layer` counts over the whole model. */
typedef bool qg_skip_sublayer(void *context, int layer, qg_sublayer sublayer);

/* From here on qg_stage_evaluate asks `skip` about every layer before that begins: about attention, then about the MLP. What is
 * left out passes the residual stream on as it is, and its weights are not read. While there is a `skip`, evaluation does
 * not replay graphs, and no weight is prefetched from one layer to the next. qg_stage_forward never asks. NULL: nothing is
 * left out. */
void qg_stage_set_skip(qg_stage *stage, qg_skip_sublayer *skip, void *context);

/* Last stage, after either of the same slot: adds the sum of the token losses to *loss (device f64). With `gradients`, and
 * grad_scale != 0, also runs the head's backward: hands out the gradients of head and final norm (of grad_scale * loss)
 * and keeps the gradient of the layer output for qg_stage_backward. NULL: the loss alone. targets: device int32, -1 ignored. */
qg_status qg_stage_loss(qg_stage *stage, const qg_weight_reader *weights, const qg_gradient_port *gradients, int slot,
                        const int32_t *targets, float grad_scale, double *loss);

/* The gradient of the layer output that qg_stage_loss left in a slot. Last stage. */
qg_view qg_stage_output_gradient(const qg_stage *stage, int slot);

/* Optional, before qg_stage_backward of the slot and before waiting for its d_out: what was offloaded begins to return. */
qg_status qg_stage_expect_backward(qg_stage *stage, int slot);

/* Backward of a slot. d_out is the gradient of this stage's output (ignored on the last stage, which has its own). The
 * gradient of the stage's input is in *d_in until the next call (empty on the first stage, which hands it to add_rows). */
qg_status qg_stage_backward(qg_stage *stage, const qg_weight_reader *weights, const qg_gradient_port *gradients, int slot,
                            const int32_t *ids, qg_view d_out, qg_view *d_in);

#endif
