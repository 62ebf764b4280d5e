#include <cblas.h>
#include <math.h>

#include "linalg/vectors.h"
#include "qgalore/linalg.h"

void qg_subspace_rotation(qg_side side, int64_t d, int64_t rank, const float *from, const float *to,
                          float *rotation)
{
  int r = (int)rank, side_length = (int)d;
  if (side == QG_SIDE_RIGHT)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, r, r, side_length, 1, from, side_length, to,
                side_length, 0, rotation, r);
  else
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, r, r, side_length, 1, from, r, to, r, 0, rotation,
                r);
}

double qg_subspace_overlap(int64_t rank, const float *rotation)
{
  return fmin(qg_dot_f32(rank * rank, rotation, rotation) / (double)rank, 1);
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
