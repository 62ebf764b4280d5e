/* LLaMA: parameters, their partition over pipeline stages, and one stage's forward and backward.
 *
 * The model knows shapes and formulas. It reads weights and hands out gradients through a
 * qg_param_port, and knows neither the optimizer behind it nor the ranks around it. */
#ifndef QGALORE_MODEL_H
#define QGALORE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/backend.h"
#include "qgalore/base/status.h"
#include "qgalore/memory.h"

typedef struct {
  int64_t hidden_size, intermediate_size, num_layers, num_heads, num_kv_heads, vocab_size;
  bool tie_embeddings;
  double rope_theta, rms_norm_eps;
} qg_model_shape;

static inline int64_t qg_head_dim(const qg_model_shape *s) { return s->hidden_size / s->num_heads; }
static inline int64_t qg_kv_size(const qg_model_shape *s) { return s->num_kv_heads * qg_head_dim(s); }

/* Parameters have global ids: 0 the embedding, 1 + 9 * layer + (role - QG_ROLE_ATTN_NORM) those of a layer,
 * then the final norm and, unless tied, the head. Ids key random numbers and checkpoints. */
typedef enum {
  QG_ROLE_EMBED,     /* [vocab, hidden] */
  QG_ROLE_ATTN_NORM, /* [1, hidden] */
  QG_ROLE_Q,         /* [hidden, hidden] (rows are outputs) */
  QG_ROLE_K,         /* [kv_size, hidden] */
  QG_ROLE_V,
  QG_ROLE_O,         /* [hidden, hidden] */
  QG_ROLE_MLP_NORM,
  QG_ROLE_GATE,      /* [intermediate, hidden] */
  QG_ROLE_UP,
  QG_ROLE_DOWN,      /* [hidden, intermediate] */
  QG_ROLE_FINAL_NORM,
  QG_ROLE_HEAD,      /* [vocab, hidden] */
  QG_ROLE_COUNT
} qg_role;

enum { QG_LAYER_PARAMS = 9 };

typedef struct {
  int id;
  qg_role role;
  int layer;          /* -1 outside layers */
  int64_t rows, cols; /* outputs x inputs */
  char name[64];      /* as in Hugging Face checkpoints: "model.layers.3.self_attn.q_proj.weight" */
} qg_param;

int qg_param_count(const qg_model_shape *shape);
qg_param qg_param_describe(const qg_model_shape *shape, int id);
int qg_param_id(const qg_model_shape *shape, qg_role role, int layer); /* tied head: the embedding's id */
static inline bool qg_role_is_matrix(qg_role role) { return role != QG_ROLE_ATTN_NORM && role != QG_ROLE_MLP_NORM && role != QG_ROLE_FINAL_NORM; }
/* One of the seven matrices of a layer. */
static inline bool qg_role_is_linear(qg_role role) { return qg_role_is_matrix(role) && role != QG_ROLE_EMBED && role != QG_ROLE_HEAD; }
int64_t qg_model_parameters(const qg_model_shape *shape);

/* FLOPs of one token, forward and backward without recomputation, in the convention of the log:
 * 6 N + 6 L C T, N = matrix parameters without the input embedding, with the head; C = hidden_size,
 * T = sequence_length (causal attention counted as in conventions.md). */
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
bool qg_partition_has_param(const qg_partition *part, const qg_param *param, bool tied);

/* Where weights come from and gradients go; implemented by src/optim. All calls Local.
 * `param` is a global id that this stage holds. */
typedef struct qg_param_port {
  void *impl;
  /* The weight in the backend's compute type, [rows, cols]. Matrices share one scratch: the view is valid until the next
   * read of another matrix; norms (vectors) stay valid always. */
  qg_status (*read)(void *impl, int param, qg_view *out);
  /* Optional. A matrix of a layer that will be read next: after the read of the one before, and before anything that reads
   * that one is queued, so that unpacking may run during it. */
  qg_status (*prefetch)(void *impl, int param);
  /* Rows [first, first + count) of a matrix, for the head. Same scratch. */
  qg_status (*read_rows)(void *impl, int param, int64_t first, int64_t count, qg_view *out);
  /* G[first_row : first_row + dy.cols, :] += dy^T x. dy [tokens, outputs], x [tokens, inputs], compute type. */
  qg_status (*matrix_grad)(void *impl, int param, qg_view dy, qg_view x);
  /* Optional. After the last matrix_grad of a micro-batch for the head, whose gradient comes in blocks of tokens; those of
   * layers come whole. What read gave for it is not read any more. */
  qg_status (*matrix_done)(void *impl, int param);
  /* G[ids[i], :] += dx[i, :], for the embedding. */
  qg_status (*row_grad)(void *impl, int param, const int32_t *ids, qg_view dx);
  /* The f32 [cols] accumulator that norm kernels add to. */
  qg_status (*vector_grad)(void *impl, int param, float **out);
} qg_param_port;

typedef struct {
  int64_t micro_batch;     /* sequences */
  int64_t sequence_length;
  int64_t loss_rows;       /* tokens whose logits are alive at once */
  bool checkpointing;      /* keep only layer inputs, recompute the rest in backward */
  bool offload;            /* with checkpointing, where the device has memory of its own: layer inputs wait on the host */
  int slots;               /* micro-batches in flight on this stage, >= 1 */
  bool graphs;             /* replay forward passes of layers, where the backend can */
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
qg_view qg_stage_input(qg_stage *stage, int slot);

/* One micro-batch through this stage. ids (device int32 [tokens]) are read on the first stage. The result (layer output,
 * [tokens, hidden], compute type) is in *out until the next call of any stage function; *out is empty on the last stage. */
qg_status qg_stage_forward(qg_stage *stage, const qg_param_port *port, int slot, const int32_t *ids, qg_view *out);
/* The same where no backward follows: nothing is offloaded for one. */
qg_status qg_stage_evaluate(qg_stage *stage, const qg_param_port *port, int slot, const int32_t *ids, qg_view *out);

/* Last stage, after either of the same slot: adds the sum of the token losses to *loss (device f64). With
 * grad_scale != 0 also runs the head's backward: hands out the gradients of head and final norm (of grad_scale * loss)
 * and keeps the gradient of the layer output for qg_stage_backward. targets: device int32, -1 ignored. */
qg_status qg_stage_loss(qg_stage *stage, const qg_param_port *port, int slot, const int32_t *targets,
                        float grad_scale, double *loss);

/* The gradient of the layer output that qg_stage_loss left in a slot. Last stage. */
qg_view qg_stage_output_gradient(qg_stage *stage, int slot);

/* Optional, before qg_stage_backward of the slot and before waiting for its d_out: what was offloaded begins to return. */
qg_status qg_stage_expect_backward(qg_stage *stage, int slot);

/* Backward of a slot. d_out is the gradient of this stage's output (ignored on the last stage, which has its own). The
 * gradient of the stage's input is in *d_in until the next call (empty on the first stage, which hands it to row_grad). */
qg_status qg_stage_backward(qg_stage *stage, const qg_param_port *port, int slot, const int32_t *ids,
                            qg_view d_out, qg_view *d_in);

#endif
