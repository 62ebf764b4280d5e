/* What the files of par share. */
#ifndef QG_PAR_PRIVATE_H
#define QG_PAR_PRIVATE_H

#include <mpi.h>

#include "qgalore/par.h"

/* Values of one rank per gather: bounds the buffer to size * 8 KiB. */
enum { QG_PAR_PIECE_VALUES = 1024 };

struct qg_par {
  MPI_Comm comm; /* a duplicate of the world: libraries cannot catch our messages */
  qg_grid grid;
  size_t chunk;     /* bytes of the largest single message, the same on all ranks, <= INT_MAX */
  double *gathered; /* [grid.size, QG_PAR_PIECE_VALUES]: one piece of a reduction, from all ranks */
  bool synchronous; /* sends complete only when the receiver has begun (MPI_Issend) */
  qg_device_pointers device_pointers;
};

#endif
