/* Orthonormal rows on the device. The libraries are column-major: for them the block is d x count with one
 * vector a column. */
#include "cuda/orthonormal.h"

#include "qgalore/base.h"
#include "qgalore/numerics/independent_rows.h"

/* gram = block block^T in double, upper triangle of the column-major matrix. Of each row as much is widened
 * at a time as fits in place of the image. */
static qg_status gram_of_block(qg_backend *be, const qg_cuda_problem *p)
{
  qg_cuda *cuda = qg_cuda_of(be);
  double one = 1.0, *slice = (double *)p->image;
  int64_t most = qg_max_i64(1, p->length / 2);
  for (int64_t first = 0; first < p->d; first += most) {
    int64_t width = qg_min_i64(most, p->d - first);
    double beta = first > 0;
    QG_CUDA(be, qg_k_widen_rows(cuda->stream, p->block, p->count, p->d, first, width, slice));
    QG_CUBLAS(be, cublasDsyrk(cuda->blas, CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_T, (int)p->count, (int)width,
                              &one, slice, (int)width, &beta, p->gram, (int)p->count));
  }
  return QG_OK;
}

/* matrix = R with R^T R = block block^T of unit rows; *least: the least of its diagonal, 0 where there is no
 * factor. */
static qg_status factor(qg_backend *be, const qg_cuda_problem *p, qg_cuda_subspace_stats *stats,
                        double *least)
{
  qg_cuda *cuda = qg_cuda_of(be);
  int count = (int)p->count, doubles = (int)qg_min_i64(INT32_MAX, (int64_t)(p->work_bytes / sizeof(double)));
  QG_CUDA(be, qg_k_unit_rows(cuda->stream, p->block, p->count, p->d));
  QG_TRY(gram_of_block(be, p));
  QG_CUSOLVER(be, cusolverDnDpotrf(cuda->solver, CUBLAS_FILL_MODE_UPPER, count, p->gram, count, p->work,
                                   doubles, &p->stats->info));
  QG_CUDA(be, qg_k_narrow_factor(cuda->stream, p->gram, p->count, p->matrix, &p->stats->least_diagonal));
  QG_TRY(qg_cuda_fetch_stats(be, p, stats));
  *least = stats->info == 0 ? (double)stats->least_diagonal : 0.0;
  return QG_OK;
}

/* block <- R^-T block */
static qg_status divide(qg_backend *be, const qg_cuda_problem *p)
{
  float one = 1.0f;
  QG_CUBLAS(be, cublasStrsm(qg_cuda_of(be)->blas, CUBLAS_SIDE_RIGHT, CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_N,
                            CUBLAS_DIAG_NON_UNIT, (int)p->d, (int)p->count, &one, p->matrix, (int)p->count,
                            p->block, (int)p->d));
  return QG_OK;
}

/* By Householder's reflections, which also give an orthonormal row where one depends on others. */
static qg_status reflect(qg_backend *be, const qg_cuda_problem *p)
{
  cusolverDnHandle_t solver = qg_cuda_of(be)->solver;
  int d = (int)p->d, count = (int)p->count, *info = &p->stats->info,
      floats = (int)qg_min_i64(INT32_MAX, (int64_t)(p->work_bytes / sizeof(float)));
  QG_CUSOLVER(be, cusolverDnSgeqrf(solver, d, count, p->block, d, p->tau, p->work, floats, info));
  QG_CUSOLVER(be, cusolverDnSorgqr(solver, d, count, count, p->block, d, p->tau, p->work, floats, info));
  return QG_OK;
}

qg_status qg_cuda_orthonormalise(qg_backend *be, const qg_cuda_problem *p, qg_cuda_subspace_stats *stats)
{
  for (double least = 0.0; least < QG_INDEPENDENT_ONE_PASS;) {
    QG_TRY(factor(be, p, stats, &least));
    if (!qg_cuda_is_usable(stats)) return QG_OK;
    if (!(least >= QG_INDEPENDENT)) return reflect(be, p);
    QG_TRY(divide(be, p));
  }
  return QG_OK;
}
