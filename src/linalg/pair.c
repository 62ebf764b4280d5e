#include "linalg/pair.h"

#include "linalg/problem.h"
#include "qgalore/base.h"

/* Rows of the two Gram matrices of the tokens that are alive at once. */
enum { NORM_ROWS = 64 };

size_t qg_pair_norm_bytes(int64_t tokens)
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

qg_status qg_pair_norm2(const qg_gradient_pair *pair, qg_scratch scratch, double *norm2)
{
  int64_t tokens = pair->dy.rows;
  float *of_dy = qg_scratch_take(&scratch, NORM_ROWS * tokens, sizeof(float));
  float *of_x = qg_scratch_take(&scratch, NORM_ROWS * tokens, sizeof(float));
  *norm2 = 0;
  for (int64_t first = 0; first < tokens; first += NORM_ROWS) {
    int64_t rows = qg_min_i64(NORM_ROWS, tokens - first);
    QG_TRY(gram_rows(pair->be, pair->dy, first, qg_view_make(of_dy, QG_F32, rows, tokens)));
    QG_TRY(gram_rows(pair->be, pair->x, first, qg_view_make(of_x, QG_F32, rows, tokens)));
    *norm2 += qg_dot_f32(rows * tokens, of_dy, of_x);
  }
  return QG_OK;
}

/* fp32 rows as an operand in the compute type. */
static qg_status operand(const qg_gradient_pair *pair, const float *rows, int64_t count, int64_t cols,
                         qg_view *out)
{
  qg_view given = qg_view_make((void *)rows, QG_F32, count, cols);
  *out = given;
  if (pair->be->compute == QG_F32) return QG_OK;
  *out = qg_view_make(pair->block, pair->be->compute, count, cols);
  return pair->be->ops->convert(pair->be, *out, given);
}

/* result [count, to.cols] = (from rows^T)^T to. */
static qg_status multiply(const qg_gradient_pair *pair, qg_view from, qg_view to, int64_t count,
                          const float *rows, float *result)
{
  qg_backend *be = pair->be;
  qg_view factor, tokens = qg_view_make(pair->tokens, be->compute, from.rows, count);
  QG_TRY(operand(pair, rows, count, from.cols, &factor));
  qg_gemm_args shrink = {.a = from, .b = factor, .c = tokens, .trans_b = true, .alpha = 1.0f};
  QG_TRY(be->ops->gemm(be, &shrink));
  qg_gemm_args spread = {.a = tokens,
                         .b = to,
                         .c = qg_view_make(result, QG_F32, count, to.cols),
                         .trans_a = true,
                         .alpha = 1.0f};
  return be->ops->gemm(be, &spread);
}

qg_status qg_pair_forward(const qg_gradient_pair *pair, qg_side side, int64_t count, const float *block,
                          float *tall)
{
  bool right = side == QG_SIDE_RIGHT;
  return multiply(pair, right ? pair->x : pair->dy, right ? pair->dy : pair->x, count, block, tall);
}

qg_status qg_pair_back(const qg_gradient_pair *pair, qg_side side, int64_t count, const float *tall,
                       float *image)
{
  bool right = side == QG_SIDE_RIGHT;
  return multiply(pair, right ? pair->dy : pair->x, right ? pair->x : pair->dy, count, tall, image);
}
