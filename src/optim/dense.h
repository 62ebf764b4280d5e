/* The gradient in full rank: of matrices that are not projected, embedding and output head. */
#ifndef QG_OPTIM_DENSE_H
#define QG_OPTIM_DENSE_H

#include "optim/moments.h"

typedef struct {
  qg_grad_sink sink;
  void *gradient; /* sink.type [rows, cols]; its own, or shared by the fused ones */
  qg_moments moments;
} qg_dense_sink;

/* `sink` is filled but for its table. */
qg_status qg_dense_create(const qg_grad_sink *sink, qg_grad_sink **out);

/* For sinks that are dense and something more. */
extern const qg_grad_sink_ops qg_dense_ops;

#endif
