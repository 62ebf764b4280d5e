/* Orthonormal rows: by Householder QR, which works for any rows, dependent or zero ones too, or by a Cholesky
 * factor.
 */
#ifndef QG_LINALG_ORTHONORMAL_H
#define QG_LINALG_ORTHONORMAL_H

#include <stdbool.h>

#include "linalg/scratch.h"
#include "qgalore/base/status.h"

typedef struct {
  float *tau;       /* [count] */
  float *work;      /* [64 * count] */
  float *reflector; /* [32, 32]: T of a panel's block reflector */
} qg_orthonormal;

void qg_orthonormal_lay_out(qg_scratch *scratch, int count, qg_orthonormal *out);

/* rows [count, d], count <= d, finite: replaced by an orthonormal basis of a space that holds them. */
qg_status qg_orthonormalise(int count, int d, float *rows, qg_orthonormal *scratch);

typedef struct {
  double *slice; /* [count, 256] */
  double *gram;  /* [count, count] */
  float *factor; /* [count, count] */
} qg_cholesky;

void qg_cholesky_lay_out(qg_scratch *scratch, int count, qg_cholesky *out);

/* The same up to signs from the Cholesky factor of the Gram matrix, which is all matrix products, where every
 * row is independent of the ones before it. Elsewhere false: the rows are others then, but span the same
 * space. coarse: orthonormal to 1e-2 is enough. companion [count, d] or NULL: combined as the rows are. */
bool qg_orthonormalise_independent(int count, int d, bool coarse, float *rows, float *companion,
                                   qg_cholesky *scratch);

#endif
