/* What every MPI test program needs: all ranks run the same tests in the same order, and any rank's failure
 * is the program's. A rank that fails a check leaves the others waiting; the runner's time limit ends them.
 */
#ifndef QG_TESTS_MPI_TEST_H
#define QG_TESTS_MPI_TEST_H

#include <stdio.h>

#include "qgalore/par.h"

/* Starts MPI for a test program; ends the process if that fails. */
static inline qg_par *mpi_test_begin(int *argc, char ***argv)
{
  qg_par *par;
  qg_status status = qg_par_init(argc, argv, &par);
  if (status == QG_OK) return par;
  fprintf(stderr, "%s\n%s", qg_error_message(), qg_error_trace());
  qg_par_abort(NULL, status);
}

/* Ends MPI; the exit code is non-zero on all ranks if `failures` is on any. Collective. */
static inline int mpi_test_end(qg_par *par, int failures)
{
  double worst = failures;
  qg_status status = qg_par_max(par, &worst, 1);
  qg_par_finalize(par);
  return status != QG_OK || worst > 0;
}

#endif
