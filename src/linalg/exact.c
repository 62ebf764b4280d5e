#include "linalg/exact.h"

#include <cblas.h>
#include <string.h>

#include "linalg/eigen.h"
#include "linalg/orthonormal.h"
#include "qgalore/base.h"

/* An eigenvalue of an fp32 Gram matrix carries an error of about n eps s_1^2; below this share of s_1^2 its
 * vector would be mostly that error. */
static const double SINGLE_PRECISION_SHARE = 1e-6;

/* Slices of the long side converted to double at a time: large enough for dsyrk, small against the gradient.
 */
enum { PANEL = 256 };

typedef struct {
  float *gram;         /* [d, d] */
  double *eigenvalues; /* [rank] */
  qg_eigen_f32 eigen;
  qg_orthonormal orthonormal;
} single_scratch;

typedef struct {
  double *gram;  /* [d, d] */
  double *panel; /* [PANEL * d] */
  float *rows;   /* [rank, d] */
  qg_eigen_f64 eigen;
} double_scratch;

static void lay_out_single(qg_scratch *scratch, int d, int rank, single_scratch *out)
{
  out->gram = qg_scratch_take(scratch, (int64_t)d * d, sizeof(float));
  out->eigenvalues = qg_scratch_take(scratch, rank, sizeof(double));
  qg_eigen_f32_lay_out(scratch, d, &out->eigen);
  qg_orthonormal_lay_out(scratch, rank, &out->orthonormal);
}

static void lay_out_double(qg_scratch *scratch, int d, int rank, double_scratch *out)
{
  out->gram = qg_scratch_take(scratch, (int64_t)d * d, sizeof(double));
  out->panel = qg_scratch_take(scratch, (int64_t)PANEL * d, sizeof(double));
  out->rows = qg_scratch_take(scratch, (int64_t)rank * d, sizeof(float));
  qg_eigen_f64_lay_out(scratch, d, &out->eigen);
}

size_t qg_exact_bytes(int d, int rank)
{
  qg_scratch in_single = {0}, in_double = {0};
  lay_out_single(&in_single, d, rank, &(single_scratch){0});
  lay_out_double(&in_double, d, rank, &(double_scratch){0});
  return in_single.used > in_double.used ? in_single.used : in_double.used;
}

/* H = G^T G (right side) or G G^T (left side), [d, d]; only the upper triangle of the row-major matrix is
 * written. */
static void form_gram_single(const qg_projection_problem *problem, float *gram)
{
  CBLAS_TRANSPOSE trans = problem->side == QG_SIDE_RIGHT ? CblasTrans : CblasNoTrans;
  cblas_ssyrk(CblasRowMajor, CblasUpper, trans, problem->d, problem->length, 1, problem->gradient,
              problem->stride, 0, gram, problem->d);
}

static void widen(int64_t rows, int64_t cols, const float *in, int64_t stride, double *out)
{
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < cols; j++) out[i * cols + j] = (double)in[i * stride + j];
}

static void form_gram_double(const qg_projection_problem *problem, double *panel, double *gram)
{
  int d = problem->d, stride = problem->stride;
  memset(gram, 0, (size_t)d * (size_t)d * sizeof *gram);
  for (int64_t first = 0; first < problem->length; first += PANEL) {
    int count = (int)qg_min_i64(PANEL, problem->length - first);
    if (problem->side == QG_SIDE_RIGHT) {
      widen(count, d, problem->gradient + first * stride, stride, panel);
      cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, d, count, 1, panel, d, 1, gram, d);
    } else {
      widen(d, count, problem->gradient + first, stride, panel);
      cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, d, count, 1, panel, count, 1, gram, d);
    }
  }
}

/* *good says whether the result was published; otherwise double precision has to do it. */
static qg_status solve_single(const qg_projection_problem *problem, qg_scratch scratch, qg_subspace_job *job,
                              bool *good)
{
  int d = problem->d, rank = problem->rank, first = d - rank;
  single_scratch s;
  lay_out_single(&scratch, d, rank, &s);
  form_gram_single(problem, s.gram);
  *good = qg_eigen_f32_top(d, rank, s.gram, &s.eigen) == QG_OK &&
          s.eigen.values[first] >= SINGLE_PRECISION_SHARE * s.eigen.values[d - 1];
  if (!*good) return QG_OK;
  float *rows = s.eigen.vectors + (int64_t)first * d;
  QG_TRY(qg_orthonormalise(rank, d, rows, &s.orthonormal));
  for (int k = 0; k < rank; k++) s.eigenvalues[k] = (double)s.eigen.values[first + k];
  return qg_projection_problem_publish(problem, rows, s.eigenvalues, QG_SUBSPACE_EXACT, job);
}

/* Vectors that are orthonormal in double are so in single to its rounding. */
static qg_status solve_double(const qg_projection_problem *problem, qg_scratch scratch, qg_subspace_job *job)
{
  int d = problem->d, rank = problem->rank, first = d - rank;
  double_scratch s;
  lay_out_double(&scratch, d, rank, &s);
  form_gram_double(problem, s.panel, s.gram);
  QG_TRY(qg_eigen_f64_top(d, rank, s.gram, &s.eigen));
  const double *wanted = s.eigen.vectors + (int64_t)first * d;
  for (int64_t i = 0; i < (int64_t)rank * d; i++) s.rows[i] = (float)wanted[i];
  return qg_projection_problem_publish(problem, s.rows, s.eigen.values + first, QG_SUBSPACE_EXACT, job);
}

qg_status qg_exact_solve(const qg_projection_problem *problem, qg_scratch scratch, qg_subspace_job *job)
{
  bool good = false;
  if (qg_projection_problem_fits_f32(problem)) QG_TRY(solve_single(problem, scratch, job, &good));
  return good ? QG_OK : solve_double(problem, scratch, job);
}
