#include "linalg/orthonormal.h"

#include <lapacke.h>

/* Work of sgeqrf and sorgqr per column: their blocks have 32. */
enum { WORK_PER_COLUMN = 64 };

void qg_orthonormal_lay_out(qg_scratch *scratch, int count, qg_orthonormal *out)
{
  out->tau = qg_scratch_take(scratch, count, sizeof(float));
  out->work = qg_scratch_take(scratch, (int64_t)count * WORK_PER_COLUMN, sizeof(float));
}

qg_status qg_orthonormalise(int count, int d, float *rows, qg_orthonormal *scratch)
{
  int work_count = count * WORK_PER_COLUMN;
  lapack_int info =
      LAPACKE_sgeqrf_work(LAPACK_COL_MAJOR, d, count, rows, d, scratch->tau, scratch->work, work_count);
  QG_CHECK(info == 0, QG_ERR_RUNTIME, "sgeqrf of %d x %d refused argument %d", d, count, -info);
  info = LAPACKE_sorgqr_work(LAPACK_COL_MAJOR, d, count, count, rows, d, scratch->tau, scratch->work,
                             work_count);
  QG_CHECK(info == 0, QG_ERR_RUNTIME, "sorgqr of %d x %d refused argument %d", d, count, -info);
  return QG_OK;
}
