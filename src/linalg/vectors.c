#include "linalg/vectors.h"

#include <math.h>

#include "qgalore/backend/host.h"
#include "qgalore/base.h"

bool qg_scan_f32(int64_t count, const float *x, double *norm2, double *largest)
{
  enum { PIECE = 1 << 13 }; /* read once from memory, twice from the first-level cache */
  float top = 0;
  *norm2 = 0;
  for (int64_t first = 0; first < count; first += PIECE) {
    int64_t length = qg_min_i64(PIECE, count - first);
    *norm2 += qg_host_sum_squares(QG_F32, length, x + first);
    top = fmaxf(top, qg_host_largest(length, x + first));
  }
  *largest = (double)top;
  /* Squares of finite floats are far from the limits of double: the sum is finite if all elements are. */
  return isfinite(*norm2);
}

double qg_dot_f32(int64_t count, const float *x, const float *y)
{
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) sum += (double)x[i] * (double)y[i];
  return sum;
}

void qg_transpose_f32(int64_t rows, int64_t cols, const float *in, float *out)
{
  enum { TILE = 16 };
  for (int64_t i0 = 0; i0 < rows; i0 += TILE)
    for (int64_t j0 = 0; j0 < cols; j0 += TILE)
      for (int64_t i = i0; i < qg_min_i64(i0 + TILE, rows); i++)
        for (int64_t j = j0; j < qg_min_i64(j0 + TILE, cols); j++) out[j * rows + i] = in[i * cols + j];
}
