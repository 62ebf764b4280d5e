#include <math.h>

#include "par/mpi_check.h"
#include "par/par_private.h"
#include "qgalore/base.h"

qg_status qg_par_broadcast(qg_par *par, void *buffer, size_t bytes, int root)
{
  char *next = buffer;
  for (size_t left = bytes; left > 0;) {
    size_t piece = left < par->chunk ? left : par->chunk;
    QG_MPI(MPI_Bcast(next, (int)piece, MPI_BYTE, root, par->comm));
    next += piece;
    left -= piece;
  }
  return QG_OK;
}

typedef double (*combine)(double a, double b);

static double add(double a, double b)
{
  return a + b;
}

/* Unlike fmax and fmin these keep a NaN: it must not hide behind another rank's number. */
static double larger(double a, double b)
{
  return isnan(a) || a > b ? a : b;
}
static double smaller(double a, double b)
{
  return isnan(a) || a < b ? a : b;
}

static qg_status reduce_piece(qg_par *par, double *values, int count, combine op)
{
  const double *all = par->gathered;
  QG_MPI(MPI_Allgather(values, count, MPI_DOUBLE, par->gathered, count, MPI_DOUBLE, par->comm));
  for (int i = 0; i < count; i++) {
    values[i] = all[i];
    for (int rank = 1; rank < par->grid.size; rank++)
      values[i] = op(values[i], all[(int64_t)rank * count + i]);
  }
  return QG_OK;
}

/* MPI_Allreduce may combine in another order on each rank; gathering first gives all ranks the same bits. */
static qg_status reduce_in_rank_order(qg_par *par, double *values, int count, combine op)
{
  for (int first = 0; first < count; first += QG_PAR_PIECE_VALUES)
    QG_TRY(reduce_piece(par, values + first, (int)qg_min_i64(QG_PAR_PIECE_VALUES, count - first), op));
  return QG_OK;
}

qg_status qg_par_sum(qg_par *par, double *values, int count)
{
  return reduce_in_rank_order(par, values, count, add);
}

qg_status qg_par_max(qg_par *par, double *values, int count)
{
  return reduce_in_rank_order(par, values, count, larger);
}

qg_status qg_par_min(qg_par *par, double *values, int count)
{
  return reduce_in_rank_order(par, values, count, smaller);
}

qg_status qg_par_gather(qg_par *par, const void *mine, size_t bytes, void *out, int root)
{
  int count;
  QG_TRY(qg_narrow_int((int64_t)bytes, "the bytes of one rank in a gather", &count));
  QG_MPI(MPI_Gather(mine, count, MPI_BYTE, out, count, MPI_BYTE, root, par->comm));
  return QG_OK;
}

qg_status qg_par_barrier(qg_par *par)
{
  QG_MPI(MPI_Barrier(par->comm));
  return QG_OK;
}
