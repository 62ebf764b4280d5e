#include <cblas.h>
#include <math.h>

#include "qgalore/base.h"
#include "qgalore/linalg.h"

/* Pairs of basis vectors per product: the tile of A B^T lives on the stack. */
enum { TILE = 64 };

static const float *vector(qg_side side, int64_t d, const float *basis, int64_t k)
{
  return side == QG_SIDE_RIGHT ? basis + k * d : basis + k;
}

/* Sum of the squared products of vectors i.. of a and j.. of b. */
static double tile_norm2(qg_side side, int d, int rank, int64_t i, int64_t j, const float *a, const float *b)
{
  float tile[TILE * TILE];
  int rows = (int)qg_min_i64(TILE, rank - i), cols = (int)qg_min_i64(TILE, rank - j);
  const float *from_a = vector(side, d, a, i), *from_b = vector(side, d, b, j);
  if (side == QG_SIDE_RIGHT)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, cols, d, 1, from_a, d, from_b, d, 0, tile,
                cols);
  else
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, cols, d, 1, from_a, rank, from_b, rank, 0,
                tile, cols);
  double sum = 0;
  for (int k = 0; k < rows * cols; k++) sum += (double)tile[k] * (double)tile[k];
  return sum;
}

double qg_subspace_overlap(qg_side side, int64_t d, int64_t rank, const float *a, const float *b)
{
  double sum = 0;
  for (int64_t i = 0; i < rank; i += TILE)
    for (int64_t j = 0; j < rank; j += TILE) sum += tile_norm2(side, (int)d, (int)rank, i, j, a, b);
  return fmin(sum / (double)rank, 1);
}

double qg_subspace_cosine(qg_side side, int64_t d, int64_t rank, const float *a, const float *b)
{
  int64_t along = side == QG_SIDE_RIGHT ? 1 : rank;
  double ab = 0, aa = 0, bb = 0;
  for (int64_t j = 0; j < d; j++) {
    double x = (double)a[j * along], y = (double)b[j * along];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}
