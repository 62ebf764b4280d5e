#include "linalg/blas_threads.h"

#include <cblas.h>
#include <omp.h>

#include "qgalore/linalg.h"

int qg_blas_threads_get(void)
{
  return omp_get_max_threads();
}

/* The OpenMP build of OpenBLAS takes its team size from OpenMP at every call; telling both keeps it from
 * resizing its buffers in the middle of a solve. */
void qg_blas_threads(int threads)
{
  omp_set_num_threads(threads);
  openblas_set_num_threads(threads);
}
