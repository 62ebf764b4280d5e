/* Turns MPI's error codes into statuses. Communicators return errors (MPI_ERRORS_RETURN) instead of aborting.
 */
#ifndef QG_PAR_MPI_CHECK_H
#define QG_PAR_MPI_CHECK_H

#include <mpi.h>

#include "qgalore/base/status.h"

/* Raises QG_ERR_RUNTIME with the text of MPI_Error_string. `call` is the source text of the call. Local. */
qg_status qg_par_mpi_failure(int error, const char *call, const char *file, int line, const char *func);

/* Returns from the function if the MPI call failed. */
#define QG_MPI(call)                                                                 \
  do {                                                                               \
    int qg_mpi_error_ = (call);                                                      \
    if (qg_mpi_error_ != MPI_SUCCESS)                                                \
      return qg_par_mpi_failure(qg_mpi_error_, #call, __FILE__, __LINE__, __func__); \
  } while (0)

#endif
