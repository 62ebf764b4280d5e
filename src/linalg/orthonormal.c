#include "linalg/orthonormal.h"

#include <cblas.h>
#include <float.h>
#include <lapacke.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/numerics/independent_rows.h"

/* Columns of a panel, as LAPACK's own blocks of sgeqrf and sorgqr; and their work per column. */
enum { PANEL = 32, WORK_PER_COLUMN = 64 };

enum { SLICE = 256 }; /* elements of each row that are widened at a time */

void qg_orthonormal_lay_out(qg_scratch *scratch, int count, qg_orthonormal *out)
{
  out->tau = qg_scratch_take(scratch, count, sizeof(float));
  out->work = qg_scratch_take(scratch, (int64_t)count * WORK_PER_COLUMN, sizeof(float));
  out->reflector = qg_scratch_take(scratch, PANEL * PANEL, sizeof(float));
}

void qg_cholesky_lay_out(qg_scratch *scratch, int count, qg_cholesky *out)
{
  out->slice = qg_scratch_take(scratch, (int64_t)count * SLICE, sizeof(double));
  out->gram = qg_scratch_take(scratch, (int64_t)count * count, sizeof(double));
  out->factor = qg_scratch_take(scratch, (int64_t)count * count, sizeof(float));
}

static qg_status with_one_thread(int count, int d, float *rows, qg_orthonormal *scratch)
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

/* The panel of columns [first, first + width) of a d x count matrix in work. */
typedef struct {
  int first, width, d, count;
  float *corner; /* its element on the diagonal */
} panel;

static panel panel_at(int first, int d, int count, float *rows)
{
  int width = (int)qg_min_i64(PANEL, count - first);
  return (panel){first, width, d, count, rows + (int64_t)first * d + first};
}

/* Columns behind the panel = (I - V T V^T) columns, or with T transposed: matrix products for all threads. */
static qg_status reflect_rest(const panel *p, char trans, qg_orthonormal *s)
{
  int rest = p->count - p->first - p->width, height = p->d - p->first;
  if (rest == 0) return QG_OK;
  lapack_int info = LAPACKE_slarft_work(LAPACK_COL_MAJOR, 'F', 'C', height, p->width, p->corner, p->d,
                                        s->tau + p->first, s->reflector, PANEL);
  QG_CHECK(info == 0, QG_ERR_RUNTIME, "slarft of %d x %d refused argument %d", height, p->width, -info);
  info = LAPACKE_slarfb_work(LAPACK_COL_MAJOR, 'L', trans, 'F', 'C', height, rest, p->width, p->corner, p->d,
                             s->reflector, PANEL, p->corner + (int64_t)p->width * p->d, p->d, s->work, rest);
  QG_CHECK(info == 0, QG_ERR_RUNTIME, "slarfb of %d x %d refused argument %d", height, rest, -info);
  return QG_OK;
}

static qg_status factor_panel(const panel *p, qg_orthonormal *s)
{
  lapack_int info = LAPACKE_sgeqrf_work(LAPACK_COL_MAJOR, p->d - p->first, p->width, p->corner, p->d,
                                        s->tau + p->first, s->work, p->count * WORK_PER_COLUMN);
  QG_CHECK(info == 0, QG_ERR_RUNTIME, "sgeqrf of a panel refused argument %d", -info);
  return QG_OK;
}

static qg_status generate_panel(const panel *p, qg_orthonormal *s)
{
  lapack_int info = LAPACKE_sorgqr_work(LAPACK_COL_MAJOR, p->d - p->first, p->width, p->width, p->corner,
                                        p->d, s->tau + p->first, s->work, p->count * WORK_PER_COLUMN);
  QG_CHECK(info == 0, QG_ERR_RUNTIME, "sorgqr of a panel refused argument %d", -info);
  for (int j = 0; j < p->width; j++)
    memset(p->corner + (int64_t)j * p->d - p->first, 0, (size_t)p->first * sizeof(float));
  return QG_OK;
}

/* LAPACK's algorithm with its panels on one thread: their many small steps would spend their time waiting for
 * each other's threads, above all on a machine that others use too. */
static qg_status with_threads(int threads, int count, int d, float *rows, qg_orthonormal *s)
{
  int last = (count - 1) / PANEL * PANEL;
  for (int first = 0; first < count; first += PANEL) {
    panel p = panel_at(first, d, count, rows);
    omp_set_num_threads(1);
    QG_TRY(factor_panel(&p, s));
    omp_set_num_threads(threads);
    QG_TRY(reflect_rest(&p, 'T', s));
  }
  for (int first = last; first >= 0; first -= PANEL) {
    panel p = panel_at(first, d, count, rows);
    QG_TRY(reflect_rest(&p, 'N', s));
    omp_set_num_threads(1);
    QG_TRY(generate_panel(&p, s));
    omp_set_num_threads(threads);
  }
  return QG_OK;
}

qg_status qg_orthonormalise(int count, int d, float *rows, qg_orthonormal *scratch)
{
  int threads = omp_get_max_threads();
  if (threads == 1) return with_one_thread(count, d, rows, scratch);
  qg_status status = with_threads(threads, count, d, rows, scratch);
  omp_set_num_threads(threads);
  return status;
}

static bool scale_to_units(int count, int d, float *rows, float *companion)
{
  for (int64_t i = 0; i < count; i++) {
    float norm = cblas_snrm2(d, rows + i * d, 1);
    if (!(norm >= FLT_MIN && norm <= FLT_MAX / 2)) return false;
    cblas_sscal(d, 1.0f / norm, rows + i * d, 1);
    if (companion) cblas_sscal(d, 1.0f / norm, companion + i * d, 1);
  }
  return true;
}

/* The least element of the diagonal of R, upper [count, count]: what of a unit row lies outside of the rows
 * before it. */
static double least_diagonal(int count, const float *r)
{
  double least = 1;
  for (int64_t i = 0; i < count; i++) least = fmin(least, (double)r[i * count + i]);
  return least;
}

/* s->gram = rows rows^T in double, upper triangle in LAPACK's eyes. */
static void gram_of_rows(int count, int d, const float *rows, qg_cholesky *s)
{
  for (int64_t first = 0; first < d; first += SLICE) {
    int64_t length = qg_min_i64(SLICE, d - first);
    for (int64_t i = 0; i < count; i++)
      for (int64_t j = 0; j < length; j++) s->slice[i * length + j] = (double)rows[i * d + first + j];
    cblas_dsyrk(CblasColMajor, CblasUpper, CblasTrans, count, (int)length, 1, s->slice, (int)length,
                first > 0, s->gram, count);
  }
}

/* The inverse of R with R^T R = rows rows^T into s->factor. *least of R's diagonal; false where a row is not
 * QG_INDEPENDENT. */
static bool factor_in_double(int count, int d, const float *rows, qg_cholesky *s, double *least)
{
  gram_of_rows(count, d, rows, s);
  if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', count, s->gram, count) != 0) return false;
  for (int64_t i = 0; i < (int64_t)count * count; i++) s->factor[i] = (float)s->gram[i];
  *least = least_diagonal(count, s->factor);
  return *least >= QG_INDEPENDENT &&
         LAPACKE_strtri_work(LAPACK_COL_MAJOR, 'U', 'N', count, s->factor, count) == 0;
}

/* The same in fp32, for rows that are nearly orthonormal. */
static bool factor_in_single(int count, int d, const float *rows, qg_cholesky *s, double *least)
{
  cblas_ssyrk(CblasColMajor, CblasUpper, CblasTrans, count, d, 1, rows, d, 0, s->factor, count);
  if (LAPACKE_spotrf_work(LAPACK_COL_MAJOR, 'U', count, s->factor, count) != 0) return false;
  *least = least_diagonal(count, s->factor);
  return LAPACKE_strtri_work(LAPACK_COL_MAJOR, 'U', 'N', count, s->factor, count) == 0;
}

/* rows <- R^-T rows */
static void divide(int count, int d, const qg_cholesky *s, float *rows)
{
  cblas_strmm(CblasColMajor, CblasRight, CblasUpper, CblasNoTrans, CblasNonUnit, d, count, 1, s->factor,
              count, rows, d);
}

bool qg_orthonormalise_independent(int count, int d, bool coarse, float *rows, float *companion,
                                   qg_cholesky *scratch)
{
  double least = 0, enough = coarse ? QG_INDEPENDENT_COARSE : QG_INDEPENDENT_ONE_PASS;
  for (int pass = 0; least < enough; pass++) {
    bool nearly = pass > 0 && least >= QG_INDEPENDENT_TWO_PASSES;
    if (!scale_to_units(count, d, rows, companion)) return false;
    if (!(nearly ? factor_in_single : factor_in_double)(count, d, rows, scratch, &least)) return false;
    divide(count, d, scratch, rows);
    if (companion) divide(count, d, scratch, companion);
  }
  return true;
}
