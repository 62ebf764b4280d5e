/* Products with a gradient that is not formed, G = dY^T X.
 *
 * `near` is the factor that has the short side's columns (X for a right projector, dY for a left one), `far`
 * the other; t tokens. For a block V [c, d], each 2 t c (d + L) FLOPs: forward: tall [c, L]  = (near V^T)^T
 * far back:    image [c, d] = (far tall^T)^T near */
#ifndef QG_LINALG_IMPLICIT_GRADIENT_H
#define QG_LINALG_IMPLICIT_GRADIENT_H

#include "linalg/scratch.h"
#include "qgalore/linalg.h"

/* ||dY^T X||_F^2 = sum over token pairs of (dY dY^T)_ij (X X^T)_ij, in double over fp32 Gram entries. */
qg_status qg_implicit_norm2(const qg_implicit_gradient *implicit, qg_scratch scratch, double *norm2);
size_t qg_implicit_norm_bytes(int64_t tokens);

/* tall [count, L] = block times the gradient, for a block [count, d] on the short side `side`. */
qg_status qg_implicit_forward(const qg_implicit_gradient *implicit, qg_side side, int64_t count,
                              const float *block, float *tall);
/* image [count, d] = tall times the gradient. */
qg_status qg_implicit_back(const qg_implicit_gradient *implicit, qg_side side, int64_t count,
                           const float *tall, float *image);

#endif
