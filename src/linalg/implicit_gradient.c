#include "linalg/implicit_gradient.h"

#include "linalg/vectors.h"
#include "qgalore/base.h"

/* Rows of the two Gram matrices of the tokens that are alive at once. */
enum { NORM_ROWS = 64 };

size_t qg_implicit_norm_bytes(int64_t tokens)
{
  return 2 * qg_scratch_round((size_t)(NORM_ROWS * tokens) * sizeof(float));
}

/* out [rows, t] = rows [first, first + rows) of F F^T. */
static qg_status gram_rows(qg_backend *be, qg_view factor, int64_t first, qg_view out)
{
  qg_gemm_args gemm = {
      .a = qg_view_rows(factor, first, out.rows), .b = factor, .c = out, .trans_b = true, .alpha = 1.0f};
  return be->ops->gemm(be, &gemm);
}

qg_status qg_implicit_norm2(const qg_implicit_gradient *implicit, qg_scratch scratch, double *norm2)
{
  int64_t tokens = implicit->dy.rows;
  float *of_dy = qg_scratch_take(&scratch, NORM_ROWS * tokens, sizeof(float));
  float *of_x = qg_scratch_take(&scratch, NORM_ROWS * tokens, sizeof(float));
  *norm2 = 0;
  for (int64_t first = 0; first < tokens; first += NORM_ROWS) {
    int64_t rows = qg_min_i64(NORM_ROWS, tokens - first);
    QG_TRY(gram_rows(implicit->be, implicit->dy, first, qg_view_make(of_dy, QG_F32, rows, tokens)));
    QG_TRY(gram_rows(implicit->be, implicit->x, first, qg_view_make(of_x, QG_F32, rows, tokens)));
    *norm2 += qg_dot_f32(rows * tokens, of_dy, of_x);
  }
  return QG_OK;
}

/* fp32 rows as an operand in the compute type. */
static qg_status operand(const qg_implicit_gradient *implicit, const float *rows, int64_t count, int64_t cols,
                         qg_view *out)
{
  qg_view given = qg_view_make((void *)rows, QG_F32, count, cols);
  *out = given;
  if (implicit->be->compute == QG_F32) return QG_OK;
  *out = qg_view_make(implicit->block, implicit->be->compute, count, cols);
  return implicit->be->ops->convert(implicit->be, *out, given);
}

/* result [count, to.cols] = (from rows^T)^T to. */
static qg_status multiply(const qg_implicit_gradient *implicit, qg_view from, qg_view to, int64_t count,
                          const float *rows, float *result)
{
  qg_backend *be = implicit->be;
  qg_view factor, tokens = qg_view_make(implicit->tokens, be->compute, from.rows, count);
  QG_TRY(operand(implicit, rows, count, from.cols, &factor));
  qg_gemm_args shrink = {.a = from, .b = factor, .c = tokens, .trans_b = true, .alpha = 1.0f};
  QG_TRY(be->ops->gemm(be, &shrink));
  qg_gemm_args spread = {.a = tokens,
                         .b = to,
                         .c = qg_view_make(result, QG_F32, count, to.cols),
                         .trans_a = true,
                         .alpha = 1.0f};
  return be->ops->gemm(be, &spread);
}

qg_status qg_implicit_forward(const qg_implicit_gradient *implicit, qg_side side, int64_t count,
                              const float *block, float *tall)
{
  bool right = side == QG_SIDE_RIGHT;
  return multiply(implicit, right ? implicit->x : implicit->dy, right ? implicit->dy : implicit->x, count,
                  block, tall);
}

qg_status qg_implicit_back(const qg_implicit_gradient *implicit, qg_side side, int64_t count,
                           const float *tall, float *image)
{
  bool right = side == QG_SIDE_RIGHT;
  return multiply(implicit, right ? implicit->dy : implicit->x, right ? implicit->x : implicit->dy, count,
                  tall, image);
}
