/* The inside of a stage: what is kept between forward and backward, scratch, and the passes over one layer.
 */
#ifndef QGALORE_MODEL_STAGE_PRIVATE_H
#define QGALORE_MODEL_STAGE_PRIVATE_H

#include "model/llama/offload_buffers.h"
#include "model/llama/roles.h"
#include "model/ops.h"

/* What one layer keeps of one micro-batch. Views are [tokens, ...] in the compute type. With checkpointing
 * only `input` is the layer's own: the rest is one set shared by all layers and slots, filled again in
 * backward. */
typedef struct {
  qg_view input;               /* [tokens, hidden]: the residual stream entering the layer; see offload.h */
  qg_view q, k, v;             /* [tokens, hidden], [tokens, kv_size] twice; q and k after rotation */
  qg_view attention;           /* [tokens, hidden]: before the output projection */
  qg_view mid;                 /* [tokens, hidden]: the residual stream between attention and MLP */
  qg_view gate, up;            /* [tokens, intermediate]; backward turns them into their gradients */
  qg_view d_q, d_k, d_v;       /* gradients of q, k, v, where gate and up were: those are dead before */
  float *attn_rstd, *mlp_rstd; /* [tokens] */
  float *lse;                  /* [heads, tokens] */
} layer_buffers;

/* Device scratch, dead between calls. What shares memory is told in stage_buffers.c. */
typedef struct {
  qg_view normed;   /* [tokens, hidden]: output of a norm */
  qg_view d_normed; /* [tokens, hidden]: its gradient; that of the attention output before */
  qg_view product;  /* [tokens, intermediate]: SwiGLU product and its gradient */
  qg_view logits,
      d_logits; /* [logit_chunk_tokens, vocab] in f32 and in the compute type (one memory if that is f32) */
  float *final_rstd; /* [tokens] */
} stage_scratch;

/* A layer's forward pass over the buffers of one slot. */
typedef struct {
  bool called; /* once, so that whatever prepares itself at a first call has done so */
  qg_graph *graph;
} layer_graph;

typedef struct qg_llama_stage qg_llama_stage;
struct qg_llama_stage {
  qg_stage base;
  qg_backend *be;
  qg_model_shape shape;
  qg_partition part;
  qg_stage_options options;
  int64_t tokens;
  layer_buffers *layers; /* [slots][part.num_layers] */
  layer_graph *graphs;   /* [slots][part.num_layers]; NULL: forward passes are called anew each time */
  stage_offload offload;
  qg_view *inputs;   /* [slots]: the residual stream entering the stage */
  qg_view output;    /* [tokens, hidden]: leaving the last layer, until the next pass; one for all slots */
  qg_view *d_output; /* [slots]: gradient of the residual stream; one memory for all slots unless has_head */
  stage_scratch scratch;
  float *rope_cos, *rope_sin; /* [sequence_length, head_dim / 2]; NULL without layers */
  qg_skip_sublayer *skip;     /* asked in evaluation; NULL: nothing is left out */
  void *skip_context;
};

static inline qg_llama_stage *qg_llama_of(qg_stage *base)
{
  return (qg_llama_stage *)base;
}

/* Takes every device buffer of the stage from the ledger. */
qg_status qg_llama_take_buffers(qg_llama_stage *stage, qg_mem *mem);

/* The residual stream of a slot entering layer `index` of this stage; index == num_layers: leaving the stage.
 */
qg_view qg_llama_hidden(const qg_llama_stage *stage, int slot, int index);
qg_status qg_llama_check_slot(const qg_llama_stage *stage, int slot);

/* One layer at work on one micro-batch. */
typedef struct {
  const qg_llama_stage *stage;
  const qg_weight_reader *weights;
  const qg_gradient_port *gradients; /* backward */
  const layer_buffers *kept;
  int layer;           /* of the model */
  bool backward;       /* the order in which it reads matrices */
  bool attention_only; /* no MLP follows */
  int after;           /* the matrix that is read after those of the layer; -1: none, or unknown */
} layer_pass;

/* kept->input -> output, filling `kept`. */
qg_status qg_layer_forward(const layer_pass *pass, qg_view output);
/* The same by a graph, which is made at the second call. No weight may be announced
 * (qg_weight_reader.prefetch) before, or for after. */
qg_status qg_layer_forward_by_graph(const layer_pass *pass, layer_graph *graph, qg_view output);
/* The same without what the stage's skip leaves out. Only `input` of what the layer keeps is valid
 * afterwards. */
qg_status qg_layer_evaluate(const layer_pass *pass, qg_view output);
/* Forward up to gate and up: all that backward needs. */
qg_status qg_layer_refill(const layer_pass *pass);
/* d_hidden holds the gradient of the layer's output and is turned into that of its input. */
qg_status qg_layer_backward(const layer_pass *pass, qg_view d_hidden);

#endif
