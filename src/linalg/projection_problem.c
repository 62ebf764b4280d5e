#include "linalg/projection_problem.h"

#include <cblas.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "linalg/implicit_gradient.h"
#include "linalg/vectors.h"
#include "qgalore/backend/host.h"
#include "qgalore/base.h"

size_t qg_projection_problem_bytes(const qg_subspace_job *job)
{
  return job->implicit ? qg_implicit_norm_bytes(job->implicit->dy.rows) : 0;
}

static qg_status measure(const qg_subspace_job *job, qg_scratch scratch, qg_projection_problem *out)
{
  bool finite;
  if (job->implicit) {
    QG_TRY(qg_implicit_norm2(job->implicit, scratch, &out->norm2));
    finite = isfinite(out->norm2);
    out->largest = sqrt(out->norm2 / ((double)job->m * (double)job->n));
  } else {
    finite = qg_scan_f32(job->m * job->n, job->gradient, &out->norm2, &out->largest);
  }
  QG_CHECK(finite, QG_ERR_NUMERICAL, "the gradient of %lld x %lld holds values that are not finite",
           (long long)job->m, (long long)job->n);
  return QG_OK;
}

qg_status qg_projection_problem_open(const qg_subspace_job *job, qg_scratch scratch,
                                     qg_projection_problem *out)
{
  int m, n;
  QG_TRY(qg_narrow_int(job->m, "the number of rows of a gradient", &m));
  QG_TRY(qg_narrow_int(job->n, "the number of columns of a gradient", &n));
  *out = (qg_projection_problem){.side = qg_side_of(m, n),
                                 .d = m < n ? m : n,
                                 .length = m < n ? n : m,
                                 .rank = (int)job->rank,
                                 .gradient = job->gradient,
                                 .stride = n,
                                 .implicit = job->implicit};
  return measure(job, scratch, out);
}

bool qg_projection_problem_fits_f32(const qg_projection_problem *problem)
{
  /* 1e12^2 times the length stays under FLT_MAX for lengths up to 1e14; 1e-12^2 times the squared
   * rounding error 1e-14 stays over FLT_MIN. */
  return problem->largest >= 1e-12 && problem->largest <= 1e12;
}

void qg_projection_problem_load_basis(const qg_projection_problem *problem, const float *basis, float *rows)
{
  if (problem->side == QG_SIDE_RIGHT)
    memcpy(rows, basis, (size_t)problem->rank * (size_t)problem->d * sizeof *rows);
  else
    qg_transpose_f32(problem->d, problem->rank, basis, rows);
}

static void swap_rows(int64_t d, float *a, float *b)
{
  for (int64_t j = 0; j < d; j++) {
    float kept = a[j];
    a[j] = b[j];
    b[j] = kept;
  }
}

static void make_descending(int64_t rank, int64_t d, float *rows)
{
  for (int64_t k = 0; k < rank / 2; k++) swap_rows(d, rows + k * d, rows + (rank - 1 - k) * d);
}

static void make_largest_positive(int64_t d, float *row)
{
  float top = 0, bottom = 0;
#pragma omp simd reduction(max : top) reduction(min : bottom)
  for (int64_t j = 0; j < d; j++) {
    top = row[j] > top ? row[j] : top;
    bottom = row[j] < bottom ? row[j] : bottom;
  }
  if (-bottom > top)
    for (int64_t j = 0; j < d; j++) row[j] = -row[j];
}

/* Products in fp32 leave a row some 1e-6 longer or shorter than 1, which the largest would feel in the
 * energy. */
static void make_unit(int64_t d, float *row)
{
  double norm2 = qg_host_sum_squares(QG_F32, d, row);
  if (norm2 > 0) cblas_sscal((int)d, (float)(1 / sqrt(norm2)), row, 1);
}

static void store_basis(const qg_projection_problem *problem, const float *rows, float *basis)
{
  if (problem->side == QG_SIDE_RIGHT)
    memcpy(basis, rows, (size_t)problem->rank * (size_t)problem->d * sizeof *rows);
  else
    qg_transpose_f32(problem->rank, problem->d, rows, basis);
}

qg_status qg_projection_problem_publish(const qg_projection_problem *problem, float *rows,
                                        const double *eigenvalues, qg_subspace_method used,
                                        qg_subspace_job *job)
{
  int rank = problem->rank;
  double norm2, largest, captured = 0;
  for (int k = 0; k < rank; k++) captured += fmax(eigenvalues[k], 0);
  QG_CHECK(qg_scan_f32((int64_t)rank * problem->d, rows, &norm2, &largest) && isfinite(captured) &&
               sqrt(fmax(eigenvalues[rank - 1], 0)) <= FLT_MAX,
           QG_ERR_NUMERICAL, "the subspace of a %lld x %lld gradient left the finite numbers",
           (long long)job->m, (long long)job->n);
  make_descending(rank, problem->d, rows);
  for (int64_t k = 0; k < rank; k++) {
    make_unit(problem->d, rows + k * problem->d);
    make_largest_positive(problem->d, rows + k * problem->d);
  }
  store_basis(problem, rows, job->basis);
  for (int k = 0; k < rank; k++) job->singular_values[k] = (float)sqrt(fmax(eigenvalues[rank - 1 - k], 0));
  job->energy = fmin(captured / problem->norm2, 1);
  job->used = used;
  return QG_OK;
}

void qg_projection_problem_publish_zero(const qg_projection_problem *problem, qg_subspace_job *job)
{
  int64_t rank = problem->rank, d = problem->d;
  int64_t step = problem->side == QG_SIDE_RIGHT ? d + 1 : rank + 1;
  memset(job->basis, 0, (size_t)rank * (size_t)d * sizeof *job->basis);
  for (int64_t k = 0; k < rank; k++) job->basis[k * step] = 1;
  memset(job->singular_values, 0, (size_t)rank * sizeof *job->singular_values);
  job->energy = 1; /* of nothing, nothing is missed */
  job->used = QG_SUBSPACE_EXACT;
}
