/* The product of a block of vectors with H = G^T G (or G G^T), in two halves.
 *
 * Factored: T = V G^T, then V H = T G: 4 L d c operations a product.
 * Formed:   H once (L d^2), then V H: 2 d^2 c a product; cheaper when the block is a good part of d.
 * Pair:     as factored, with G = dY^T X in its factors (pair.h).
 * L the long side, c vectors in the block; written for the right side. */
#ifndef QG_LINALG_BLOCK_PRODUCT_H
#define QG_LINALG_BLOCK_PRODUCT_H

#include "linalg/problem.h"
#include "linalg/scratch.h"

typedef struct {
  const qg_problem *problem;
  int count; /* c */
  bool formed;
  float *gram;  /* formed: H [d, d], upper triangle */
  float *tall;  /* factored: G V^T [L, c] (right side) or V G [c, L] (left side); pair: [c, L] */
  float *image; /* V H [c, d] */
} qg_block_product;

/* `steps`: how many products are expected; `pair`: the gradient is given in its factors. */
void qg_block_product_lay_out(qg_scratch *scratch, int d, int length, int count, int steps, bool pair,
                              qg_block_product *out);
/* Sets the problem; forms H where that is the plan. */
void qg_block_product_open(const qg_problem *problem, qg_block_product *product);

/* First half, for the block V [c, d]. *trace = tr(V H V^T). */
qg_status qg_block_product_begin(qg_block_product *product, const float *block, double *trace);
/* Second half: product->image = V H. */
qg_status qg_block_product_finish(qg_block_product *product);
/* ritz [c, c] = V H V^T (upper triangle), after the first half with this block. */
void qg_block_product_ritz(const qg_block_product *product, const float *block, float *ritz);

#endif
