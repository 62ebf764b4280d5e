/* Process grids, and matrices that travel between them. */
#ifndef QG_LINALG_SCALAPACK_GRID_H
#define QG_LINALG_SCALAPACK_GRID_H

#include "linalg/scalapack.h"
#include "linalg/scalapack_layout.h"
#include "qgalore/par.h"

typedef struct {
  int system; /* BLACS handle of the communicator */
  int grid;   /* [grid_rows, grid_cols] of all ranks */
  int line;   /* [1, size] of all ranks, the frame of a copy */
  int owner;  /* [1, 1] of the owner; -1 elsewhere */
} qg_scalapack_grid;

/* Collective. */
qg_status qg_scalapack_grid_open(qg_par *par, const qg_scalapack_layout *layout, int owner,
                                 qg_scalapack_grid *out);
/* Collective. */
void qg_scalapack_grid_close(const qg_scalapack_grid *grid);

/* A [rows, cols] column-major matrix over the grid, `local_rows` of its rows here. */
qg_descriptor qg_scalapack_spread(const qg_scalapack_layout *layout, const qg_scalapack_grid *grid, int rows,
                                  int cols, int local_rows);

/* spread [rows, cols] = whole, which lies on the owner (NULL elsewhere), column-major. Collective. */
void qg_scalapack_scatter(const qg_scalapack_grid *grid, int rows, int cols, const float *whole,
                          float *spread, const qg_descriptor *at);
/* whole = columns [first, first + cols) of spread. Collective. */
void qg_scalapack_gather(const qg_scalapack_grid *grid, int rows, int cols, const float *spread,
                         const qg_descriptor *at, int first, float *whole);

#endif
