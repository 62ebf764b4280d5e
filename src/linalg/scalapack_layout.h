/* How a job lies on the ranks: known from its shape and the number of ranks alone, without a message. */
#ifndef QG_LINALG_SCALAPACK_LAYOUT_H
#define QG_LINALG_SCALAPACK_LAYOUT_H

#include "linalg/orthonormal.h"
#include "linalg/scratch.h"
#include "qgalore/linalg.h"

typedef struct {
  qg_side side;
  int m, n, d, length, rank;
  int grid_rows, grid_cols, row, col; /* the grid and our place in it, row by row */
  bool is_owner;
  int block;                    /* rows and columns of a block */
  int tall_rows, tall_cols;     /* our part of G^T [n, m], column-major */
  int square_rows, square_cols; /* our part of H [d, d] */
  int work_count, iwork_count;  /* pssyevd */
} qg_scalapack_layout;

typedef struct {
  float *tall;    /* [tall_cols, tall_rows] */
  float *gram;    /* [square_cols, square_rows] */
  float *vectors; /* [square_cols, square_rows] */
  float *values;  /* [d], ascending, on every rank */
  float *work;
  int *iwork;
  /* on the owner, else NULL: */
  float *rows;         /* [rank, d] */
  double *eigenvalues; /* [rank] */
  qg_orthonormal orthonormal;
} qg_scalapack_scratch;

/* QG_ERR_INPUT, the same on all ranks, where the shape makes no sense or one of the counts that ScaLAPACK
 * keeps in 32 bits does not fit them. */
qg_status qg_scalapack_layout_make(int rank, int size, int owner, int64_t m, int64_t n, int64_t subspace_rank,
                                   qg_scalapack_layout *out);
void qg_scalapack_scratch_lay_out(qg_scratch *scratch, const qg_scalapack_layout *layout,
                                  qg_scalapack_scratch *out);

#endif
