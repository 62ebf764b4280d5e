/* Linear maps and norms whose weights are read through a weight reader. */
#ifndef QGALORE_MODEL_LINEAR_H
#define QGALORE_MODEL_LINEAR_H

#include "qgalore/model.h"

/* y = x W^T. x [tokens, inputs], W [outputs, inputs]. `next`: the matrix that is read after W, which may be
 * unpacked beside the product; -1: unknown. */
qg_status qg_linear_forward(qg_backend *be, const qg_weight_reader *weights, int param, int next, qg_view x,
                            qg_view y);
/* dx = dy W, or dx += dy W. */
qg_status qg_linear_backward(qg_backend *be, const qg_weight_reader *weights, int param, int next, qg_view dy,
                             qg_view dx, bool accumulate);

/* c = a b^T and c = a b + beta c, for a weight that was read before. */
qg_status qg_matmul_transposed(qg_backend *be, qg_view a, qg_view b, qg_view c);
qg_status qg_matmul(qg_backend *be, qg_view a, qg_view b, float beta, qg_view c);

/* y = x / rms(x) * weight of `param`. */
qg_status qg_norm_forward(qg_backend *be, const qg_weight_reader *weights, int param, float eps, qg_view x,
                          float *rstd, qg_view y);
/* sum = x + add first; sum may be x. */
qg_status qg_norm_forward_sum(qg_backend *be, const qg_weight_reader *weights, int param, float eps,
                              qg_view x, qg_view add, qg_view sum, float *rstd, qg_view y);
/* dx (+)= the norm's backward; the weight's gradient goes to `gradients`. */
qg_status qg_norm_backward(qg_backend *be, const qg_weight_reader *weights, const qg_gradient_port *gradients,
                           int param, qg_view x, const float *rstd, qg_view dy, qg_view dx, bool accumulate);

#endif
