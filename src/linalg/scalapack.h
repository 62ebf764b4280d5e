/* The few routines of BLACS and ScaLAPACK that we call: they come without a C header. */
#ifndef QG_LINALG_SCALAPACK_H
#define QG_LINALG_SCALAPACK_H

#include <mpi.h>

enum { QG_DESC_COUNT = 9 };

/* Where a global column-major matrix lies (ScaLAPACK Users' Guide, section 4.3.3). */
typedef struct {
  int type;    /* 1: dense, block-cyclic */
  int context; /* the grid, or -1 on ranks outside it */
  int rows, cols;
  int row_block, col_block;
  int first_row, first_col; /* the place in the grid that holds element (1, 1) */
  int leading;              /* of the local part, at least 1 */
} qg_descriptor;

_Static_assert(sizeof(qg_descriptor) == QG_DESC_COUNT * sizeof(int), "ScaLAPACK reads nine integers");

int Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int handle);
/* context: the system handle on entry, the grid on return; -1 on ranks that are not in `map`. Collective. */
void Cblacs_gridmap(int *context, int *map, int leading, int rows, int cols);
void Cblacs_gridinfo(int context, int *rows, int *cols, int *row, int *col);
void Cblacs_gridexit(int context);

/* Copies [rows, cols] between distributed matrices; `context` holds the ranks of both. Collective. */
void psgemr2d_(const int *rows, const int *cols, const float *a, const int *ia, const int *ja,
               const qg_descriptor *desc_a, float *b, const int *ib, const int *jb,
               const qg_descriptor *desc_b, const int *context);
void pssyrk_(const char *uplo, const char *trans, const int *n, const int *k, const float *alpha,
             const float *a, const int *ia, const int *ja, const qg_descriptor *desc_a, const float *beta,
             float *c, const int *ic, const int *jc, const qg_descriptor *desc_c);
void pssyevd_(const char *jobz, const char *uplo, const int *n, float *a, const int *ia, const int *ja,
              const qg_descriptor *desc_a, float *w, float *z, const int *iz, const int *jz,
              const qg_descriptor *desc_z, float *work, const int *lwork, int *iwork, const int *liwork,
              int *info);

#endif
