/* The parameters of a LLaMA and their order. */
#ifndef QG_MODEL_LLAMA_ROLES_H
#define QG_MODEL_LLAMA_ROLES_H

#include "qgalore/spec/model_shape.h"

/* Index 0 is the embedding, 1 + 9 * layer + (role - QG_ROLE_ATTN_NORM) those of a layer, then come the final
 * norm and, unless tied, the head. Ids are the same numbers. A parameter that is added to a layer gets an id
 * beyond these, so that they stay: ids key random numbers. */
typedef enum {
  QG_ROLE_EMBED,     /* [vocab, hidden] */
  QG_ROLE_ATTN_NORM, /* [1, hidden] */
  QG_ROLE_Q,         /* [hidden, hidden] (rows are outputs) */
  QG_ROLE_K,         /* [kv_size, hidden] */
  QG_ROLE_V,
  QG_ROLE_O, /* [hidden, hidden] */
  QG_ROLE_MLP_NORM,
  QG_ROLE_GATE, /* [intermediate, hidden] */
  QG_ROLE_UP,
  QG_ROLE_DOWN, /* [hidden, intermediate] */
  QG_ROLE_FINAL_NORM,
  QG_ROLE_HEAD, /* [vocab, hidden] */
  QG_ROLE_COUNT
} qg_role;

enum { QG_LAYER_PARAMS = 9 };

int qg_llama_param(const qg_model_shape *shape, qg_role role,
                   int layer); /* its index; tied head: the embedding's */

#endif
