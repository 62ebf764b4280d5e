/* From an old basis to a new one: what moments are turned by, and how similar the two are. */
#include <math.h>

#include "cuda/cuda_backend.h"

/* The first vector of a basis, as a row or as a column of its matrix. */
static qg_view first_vector(const qg_basis_change_args *a, const float *basis)
{
  qg_view vector = qg_view_make((void *)basis, QG_F32, a->left ? a->d : 1, a->left ? 1 : a->d);
  if (a->left) vector.stride = a->rank;
  return vector;
}

/* Right: C = from to^T. Left: C = from^T to. Then the squares of its elements. */
static qg_status rotate(qg_backend *be, const qg_basis_change_args *a)
{
  int64_t rows = a->left ? a->d : a->rank, cols = a->left ? a->rank : a->d;
  qg_gemm_args product = {.a = qg_view_make((void *)a->from, QG_F32, rows, cols),
                          .b = qg_view_make((void *)a->to, QG_F32, rows, cols),
                          .c = qg_view_make(a->rotation, QG_F32, a->rank, a->rank),
                          .trans_a = a->left,
                          .trans_b = !a->left,
                          .alpha = 1.0f};
  QG_TRY(qg_cuda_gemm(be, &product));
  QG_CUDA(be, qg_k_square(qg_cuda_of(be)->stream, a->rotation, a->rank * a->rank,
                          a->rotation + a->rank * a->rank));
  return QG_OK;
}

qg_status qg_cuda_basis_change(qg_backend *be, qg_basis_change_args *a)
{
  QG_CUDA_RANGE("basis_change");
  double sums[QG_CUDA_SUMS], *device = qg_cuda_of(be)->sums;
  float first;
  QG_TRY(rotate(be, a));
  QG_TRY(qg_cuda_sum_squares(be, qg_view_make(a->rotation, QG_F32, a->rank, a->rank), device, NULL));
  QG_TRY(qg_cuda_sum_squares(be, first_vector(a, a->from), device + 1, NULL));
  QG_TRY(qg_cuda_sum_squares(be, first_vector(a, a->to), device + 2, NULL));
  QG_TRY(qg_cuda_copy_out(be, sums, device, sizeof sums));
  QG_TRY(qg_cuda_copy_out(be, &first, a->rotation, sizeof first));
  a->overlap = fmin(sums[0] / (double)a->rank, 1.0);
  a->cosine = sums[1] > 0.0 && sums[2] > 0.0 ? (double)first / sqrt(sums[1] * sums[2]) : 0.0;
  return QG_OK;
}
