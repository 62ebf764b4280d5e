/* Parameters of a model, and how the model reads their weights and hands out their gradients.
 *
 * A model describes its parameters in one array. Storage of weights, optimizers and checkpoints know that array and not the model;
 * an index into it names a parameter everywhere. */
#ifndef QGALORE_PARAM_H
#define QGALORE_PARAM_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/base/status.h"
#include "qgalore/base/view.h"

typedef enum {
  QG_PARAM_MATRIX, /* y = x W^T within a layer */
  QG_PARAM_TABLE,  /* one row a token of the vocabulary: embedding, output head */
  QG_PARAM_VECTOR  /* [1, cols]: norms */
} qg_param_kind;

typedef struct {
  int id;             /* keys random numbers, in place of the index, and stays what it is when a model gets more parameters */
  qg_param_kind kind;
  int layer, layers;  /* of so many; outside layers -1 and 1 */
  int64_t rows, cols; /* outputs x inputs */
  bool projectable;   /* its gradient may be kept in a low-rank subspace */
  bool decays;        /* weight decay applies */
  bool looked_up;     /* rows are looked up by token: its gradient comes as rows (add_rows) */
  bool multiplied;    /* on this rank the weight is an operand of products */
  bool in_parts;      /* its gradient comes in several products a micro-batch */
  bool tied;          /* embedding and output head at once: its gradient has two parts, perhaps of two ranks */
  bool held;          /* this rank has its weight */
  bool owned;         /* and counts and saves it: a tied one may be held twice */
  char name[64];      /* as in Hugging Face checkpoints: "model.layers.3.self_attn.q_proj.weight" */
  char dataset[64];   /* in our checkpoints, where layers share a dataset: "self_attn.q_proj" */
} qg_param;

static inline int64_t qg_param_elements(const qg_param *param)
{
  return param->rows * param->cols;
}
static inline bool qg_param_is_vector(const qg_param *param)
{
  return param->kind == QG_PARAM_VECTOR;
}

/* The parameters of a whole model, those of other ranks too. The array is the list's own. */
typedef struct {
  qg_param *params; /* [count] */
  int count;
} qg_param_list;

/* Where a model reads weights. `param` is one that this rank holds. All calls Local. */
typedef struct {
  void *impl;
  /* The weight in the backend's compute type, [rows, cols]. Matrices share one scratch: the view is valid until the next
   * read of another matrix; vectors stay valid always. */
  qg_status (*read)(void *impl, int param, qg_view *out);
  /* Optional. A matrix of a layer that will be read next: after the read of the one before, and before anything that reads
   * that one is queued, so that unpacking may run at the same time. */
  qg_status (*prefetch)(void *impl, int param);
  /* Rows [first, first + count) of a matrix. Same scratch. */
  qg_status (*read_rows)(void *impl, int param, int64_t first, int64_t count, qg_view *out);
} qg_weight_reader;

/* Where backward hands out gradients. `param` is one that this rank holds; what nobody wants is dropped. All calls Local. */
typedef struct {
  void *impl;
  /* G += dy^T x. dy [tokens, outputs], x [tokens, inputs], compute type. The weight of a layer's matrix is not read any more
   * after its product has been added. */
  qg_status (*add_matrix)(void *impl, int param, qg_view dy, qg_view x);
  /* G[ids[i], :] += dx[i, :], for what is looked up. */
  qg_status (*add_rows)(void *impl, int param, const int32_t *ids, qg_view dx);
  /* The f32 [cols] accumulator that norm kernels add to; NULL: nobody wants this gradient. */
  qg_status (*vector)(void *impl, int param, float **out);
  /* The gradient of this micro-batch is whole, and the weight is not read any more before its next pass. */
  qg_status (*complete)(void *impl, int param);
} qg_gradient_port;

#endif
