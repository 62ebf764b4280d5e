/* The product of a block of vectors with H = G^T G (or G G^T), in two halves: T = V G^T, then V H = T G, 4 L
 * d c operations; written for the right side. L the long side, c vectors in the block.
 *
 * Where the processor multiplies bf16 the operands may be split, x = high + low with 8 bits in each, and a
 * product takes of them what its grade says:
 *   COARSE          T = V_high G_high, then T_high G_high: for vectors on their way
 *   WHOLE_BLOCK     + V_low G_high: energies of V itself; rounding changes that of a row by 1e-4 of it
 *   WHOLE_GRADIENT  + V_high G_low, then T_high (G_high + G_low): vectors of the gradient itself
 *   FINE            both: 2^-17 of each row
 * T needs no second half: what its rounding adds to a row of V H is random, 2^-9 / sqrt(L) s_i s_j along each
 * v_j, and so next to nothing where s_j is small. Without such products all grades are fp32. */
#ifndef QG_LINALG_GRAM_PRODUCT_H
#define QG_LINALG_GRAM_PRODUCT_H

#include "linalg/projection_problem.h"
#include "linalg/scratch.h"

typedef enum {
  QG_PRODUCT_COARSE = 0,
  QG_PRODUCT_WHOLE_BLOCK = 1,
  QG_PRODUCT_WHOLE_GRADIENT = 2,
  QG_PRODUCT_FINE = QG_PRODUCT_WHOLE_BLOCK | QG_PRODUCT_WHOLE_GRADIENT
} qg_product_grade;

/* How products are made. */
typedef struct {
  int threads;
  bool bf16;     /* split operands where the processor has products of bf16 */
  bool fine;     /* products of the whole gradient will be asked for */
  bool implicit; /* of a gradient that is given in its factors (implicit_gradient.h): in the type of its
                    backend */
} qg_product_options;

typedef struct {
  const qg_projection_problem *problem;
  qg_product_options options;
  float *tall;          /* T [c, L]; right side, but of an implicit gradient: its transpose [L, c] */
  float *image;         /* V H [c, d] */
  uint16_t *high, *low; /* G [m, n]; low: NULL unless its products are split */
  uint16_t *block_high, *block_low; /* V [c, d] */
  uint16_t *tall_high;              /* T, in the same order */
  void *workspace;                  /* of one product */
} qg_gram_product;

void qg_gram_product_lay_out(qg_scratch *scratch, int d, int length, int count, qg_product_options options,
                             qg_gram_product *out);
/* Sets the problem; splits its gradient. */
void qg_gram_product_open(const qg_projection_problem *problem, qg_gram_product *product);

/* First half, for the first `count` vectors of the block V [count, d]. *trace = tr(V H V^T). */
qg_status qg_gram_product_begin(qg_gram_product *product, qg_product_grade grade, int count,
                                const float *block, double *trace);
/* ||G||_F^2 of the gradient as a product of this grade sees it. */
double qg_gram_product_norm2(const qg_gram_product *product, qg_product_grade grade);
/* Second half: product->image = V H. */
qg_status qg_gram_product_finish(qg_gram_product *product, qg_product_grade grade, int count);
/* ritz [count, count] = V H V^T (upper triangle), after the first half. */
void qg_gram_product_ritz(const qg_gram_product *product, int count, float *ritz);

#endif
