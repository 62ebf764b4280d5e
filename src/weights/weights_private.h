/* The storage of weights, for the files of this folder. */
#ifndef QG_WEIGHTS_PRIVATE_H
#define QG_WEIGHTS_PRIVATE_H

#include "qgalore/weights.h"

/* One parameter. Device memory belongs to the ledger; NULL when dry or not held. */
typedef struct {
  qg_param param;
  qg_weight_format format;
  qg_int8_store codes;  /* INT8: rows * cols elements */
  void *values;         /* else [rows, cols], in the format's type */
  void *compute_values; /* vectors: [cols] in the compute type; `values` itself if that has the type */
} qg_weight;

/* The matrix that is read next, unpacked while the product of the one before runs (prefetch.c). */
typedef struct {
  void *scratch; /* changes places with the scratch that is read; NULL: reads unpack */
  int param;     /* what is unpacked in it, or will be at `done`; -1: nothing */
  qg_event *before, *done;
} qg_weight_prefetch;

struct qg_weights {
  qg_backend *be;
  qg_weight_options options;
  qg_weight *weights; /* [count], by index of the parameter list */
  int count;
  void *scratch; /* compute type, the largest weight that is not stored so; holds what was read last */
  qg_weight_prefetch prefetch;
  qg_weight_reader reader;
};

static inline qg_dtype qg_weight_type(const qg_weight *w)
{
  return w->format == QG_WEIGHT_BF16 ? QG_BF16 : QG_F32;
}

/* The weight of a parameter that is held here, which operations are about from then on; else QG_ERR_RUNTIME.
 */
static inline qg_status qg_weights_find(const qg_weights *weights, int param, qg_weight **out)
{
  *out = NULL;
  QG_CHECK(param >= 0 && param < weights->count && weights->weights[param].param.held, QG_ERR_RUNTIME,
           "parameter %d is not held by this stage", param);
  *out = &weights->weights[param];
  qg_backend_name(weights->be, (*out)->param.name);
  return QG_OK;
}

/* The group of element `first`, a multiple of QG_GROUP, and those after it. */
static inline qg_int8_store qg_weight_codes_from(qg_int8_store store, int64_t first)
{
  return (qg_int8_store){store.codes + first, store.scale + first / QG_GROUP, store.zero + first / QG_GROUP};
}

#endif
