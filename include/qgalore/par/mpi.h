/* The communicator itself, for modules that must pass one to a library (HDF5, BLACS). */
#ifndef QGALORE_PAR_MPI_H
#define QGALORE_PAR_MPI_H

#include <mpi.h>

#include "qgalore/par.h"

MPI_Comm qg_par_comm(const qg_par *par);

#endif
