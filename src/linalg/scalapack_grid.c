#include "linalg/scalapack_grid.h"

#include <stdlib.h>

#include "qgalore/base.h"
#include "qgalore/par/mpi.h"

/* Copies travel in slabs of columns: psgemr2d counts its buffers in 32-bit bytes and offsets. */
enum { SLAB_COLUMNS = 4096, SLAB_ELEMENTS = 1 << 26 };

static int open_context(int system, int *map, int rows, int cols)
{
  int context = system;
  Cblacs_gridmap(&context, map, rows, rows, cols);
  return context;
}

/* The map of a grid is column-major, our ranks are numbered row by row. */
static void fill_map(const qg_scalapack_layout *layout, int *map)
{
  for (int row = 0; row < layout->grid_rows; row++)
    for (int col = 0; col < layout->grid_cols; col++)
      map[col * layout->grid_rows + row] = row * layout->grid_cols + col;
}

qg_status qg_scalapack_grid_open(qg_par *par, const qg_scalapack_layout *layout, int owner,
                                 qg_scalapack_grid *out)
{
  int size = layout->grid_rows * layout->grid_cols, *map = NULL;
  /* No rank may go on into a collective that another one never reaches. */
  QG_TRY(qg_par_agree(par, qg_calloc((size_t)size, sizeof *map, "the process grid", (void **)&map)));
  out->system = Csys2blacs_handle(qg_par_comm(par));
  for (int i = 0; i < size; i++) map[i] = i;
  out->line = open_context(out->system, map, 1, size);
  fill_map(layout, map);
  out->grid = open_context(out->system, map, layout->grid_rows, layout->grid_cols);
  out->owner = open_context(out->system, &owner, 1, 1);
  free(map);
  return QG_OK;
}

void qg_scalapack_grid_close(const qg_scalapack_grid *grid)
{
  if (grid->owner >= 0) Cblacs_gridexit(grid->owner);
  Cblacs_gridexit(grid->grid);
  Cblacs_gridexit(grid->line);
  Cfree_blacs_system_handle(grid->system);
}

qg_descriptor qg_scalapack_spread(const qg_scalapack_layout *layout, const qg_scalapack_grid *grid, int rows,
                                  int cols, int local_rows)
{
  return (qg_descriptor){.type = 1,
                         .context = grid->grid,
                         .rows = rows,
                         .cols = cols,
                         .row_block = layout->block,
                         .col_block = layout->block,
                         .leading = local_rows > 0 ? local_rows : 1};
}

static qg_descriptor whole_on_owner(const qg_scalapack_grid *grid, int rows, int cols)
{
  return (qg_descriptor){.type = 1,
                         .context = grid->owner,
                         .rows = rows,
                         .cols = cols,
                         .row_block = rows,
                         .col_block = cols,
                         .leading = rows};
}

/* Columns [first, first + count) of a copy and their place in the owner's memory. Zero before the first. */
typedef struct {
  int first, count;
  int64_t offset; /* elements */
  qg_descriptor on_owner;
} slab;

static bool next_slab(const qg_scalapack_grid *grid, int rows, int cols, slab *s)
{
  int64_t most = qg_max_i64(1, qg_min_i64(SLAB_COLUMNS, SLAB_ELEMENTS / rows));
  s->first += s->count;
  s->count = (int)qg_min_i64(most, cols - s->first);
  s->offset = (int64_t)s->first * rows;
  s->on_owner = whole_on_owner(grid, rows, s->count);
  return s->count > 0;
}

void qg_scalapack_scatter(const qg_scalapack_grid *grid, int rows, int cols, const float *whole,
                          float *spread, const qg_descriptor *at)
{
  const int one = 1;
  for (slab s = {0}; next_slab(grid, rows, cols, &s);) {
    const float *from = whole ? whole + s.offset : NULL;
    int column = s.first + 1;
    psgemr2d_(&rows, &s.count, from, &one, &one, &s.on_owner, spread, &one, &column, at, &grid->line);
  }
}

void qg_scalapack_gather(const qg_scalapack_grid *grid, int rows, int cols, const float *spread,
                         const qg_descriptor *at, int first, float *whole)
{
  const int one = 1;
  for (slab s = {0}; next_slab(grid, rows, cols, &s);) {
    float *to = whole ? whole + s.offset : NULL;
    int column = first + s.first + 1;
    psgemr2d_(&rows, &s.count, spread, &one, &column, at, to, &one, &one, &s.on_owner, &grid->line);
  }
}
