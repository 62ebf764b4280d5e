#include "par/mpi_check.h"

#include <string.h>

qg_status qg_par_mpi_failure(int error, const char *call, const char *file, int line, const char *func)
{
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(error, text, &length) != MPI_SUCCESS) strcpy(text, "unknown MPI error");
  /* The name of the function is the part of `call` before its arguments. */
  int name = (int)strcspn(call, "(");
  return qg_error_raise(QG_ERR_RUNTIME, file, line, func, "%.*s failed: %s", name, call, text);
}
