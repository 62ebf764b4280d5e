#include "linalg/gram.h"

#include <cblas.h>
#include <string.h>

#include "qgalore/base.h"

/* Slices of the long side converted to double at a time: large enough for dsyrk, small against the gradient.
 */
enum { PANEL = 256 };

void qg_gram_f32(const qg_projection_problem *problem, float *gram)
{
  CBLAS_TRANSPOSE trans = problem->side == QG_SIDE_RIGHT ? CblasTrans : CblasNoTrans;
  cblas_ssyrk(CblasRowMajor, CblasUpper, trans, problem->d, problem->length, 1, problem->gradient,
              problem->stride, 0, gram, problem->d);
}

int64_t qg_gram_panel_count(int d)
{
  return (int64_t)d * PANEL;
}

static void widen(int64_t rows, int64_t cols, const float *in, int64_t stride, double *out)
{
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < cols; j++) out[i * cols + j] = (double)in[i * stride + j];
}

void qg_gram_f64(const qg_projection_problem *problem, double *panel, double *gram)
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
