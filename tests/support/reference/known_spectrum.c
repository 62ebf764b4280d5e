#include "support/reference/known_spectrum.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/numerics/philox.h"

static double *doubles(int64_t count)
{
  double *memory = malloc((size_t)count * sizeof *memory);
  if (!memory) abort();
  return memory;
}

/* q [rows, cols] with orthonormal columns, cols <= rows. */
static void random_orthonormal(int rows, int cols, qg_rng rng, double *q)
{
  double *tau = doubles(cols);
  for (int64_t i = 0; i < (int64_t)rows * cols; i++) q[i] = (double)qg_rng_unit_at(rng, (uint64_t)i) - 0.5;
  LAPACKE_dgeqrf(LAPACK_ROW_MAJOR, rows, cols, q, cols, tau);
  LAPACKE_dorgqr(LAPACK_ROW_MAJOR, rows, cols, cols, q, cols, tau);
  free(tau);
}

void spectrum_matrix(int64_t m, int64_t n, const double *s, uint64_t seed, float *out)
{
  int k = (int)qg_min_i64(m, n);
  double *u = doubles(m * k), *v = doubles(n * k), *g = doubles(m * n);
  random_orthonormal((int)m, k, (qg_rng){.seed = seed, .purpose = QG_RNG_SYNTHETIC, .tensor = 1}, u);
  random_orthonormal((int)n, k, (qg_rng){.seed = seed, .purpose = QG_RNG_SYNTHETIC, .tensor = 2}, v);
  for (int64_t i = 0; i < m * k; i++) u[i] *= s[i % k];
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, k, 1, u, k, v, k, 0, g, (int)n);
  for (int64_t i = 0; i < m * n; i++) out[i] = (float)g[i];
  free(u);
  free(v);
  free(g);
}

void spectrum_singular_values(int64_t m, int64_t n, const float *matrix, double *s)
{
  double *a = doubles(m * n), ignored = 0;
  for (int64_t i = 0; i < m * n; i++) a[i] = (double)matrix[i];
  LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'N', (int)n, (int)m, a, (int)n, s, &ignored, 1, &ignored, 1);
  free(a);
}

double spectrum_optimal_energy(int64_t count, int64_t rank, const double *s)
{
  double top = 0, all = 0;
  for (int64_t i = 0; i < count; i++) {
    all += s[i] * s[i];
    if (i < rank) top += s[i] * s[i];
  }
  return top / all;
}

/* The basis in double with one vector a row: [rank, d]. */
static double *basis_rows(const qg_subspace_job *job, const float *basis)
{
  bool right = qg_side_of(job->m, job->n) == QG_SIDE_RIGHT;
  int64_t d = qg_min_i64(job->m, job->n), rank = job->rank;
  double *rows = doubles(rank * d);
  for (int64_t k = 0; k < rank; k++)
    for (int64_t j = 0; j < d; j++)
      rows[k * d + j] = (double)(right ? basis[k * d + j] : basis[j * rank + k]);
  return rows;
}

double spectrum_energy(const qg_subspace_job *job, const float *basis)
{
  bool right = qg_side_of(job->m, job->n) == QG_SIDE_RIGHT;
  int m = (int)job->m, n = (int)job->n, d = right ? n : m, length = right ? m : n, rank = (int)job->rank;
  double *rows = basis_rows(job, basis), *g = doubles(job->m * job->n),
         *low = doubles((int64_t)rank * length);
  for (int64_t i = 0; i < job->m * job->n; i++) g[i] = (double)job->gradient[i];
  cblas_dgemm(CblasRowMajor, CblasNoTrans, right ? CblasTrans : CblasNoTrans, rank, length, d, 1, rows, d, g,
              n, 0, low, length);
  double inside = cblas_ddot(rank * length, low, 1, low, 1), all = cblas_ddot(m * n, g, 1, g, 1);
  free(rows);
  free(g);
  free(low);
  return inside / all;
}

double spectrum_orthonormal_error(const qg_subspace_job *job, const float *basis)
{
  int64_t d = qg_min_i64(job->m, job->n), rank = job->rank;
  double *rows = basis_rows(job, basis), worst = 0;
  for (int64_t i = 0; i < rank; i++)
    for (int64_t j = 0; j <= i; j++) {
      double error = fabs(cblas_ddot((int)d, rows + i * d, 1, rows + j * d, 1) - (i == j));
      worst = error <= worst ? worst : (isnan(error) ? INFINITY : error);
    }
  free(rows);
  return worst;
}
