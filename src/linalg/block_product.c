#include "linalg/block_product.h"

#include <cblas.h>

#include "linalg/gram.h"
#include "linalg/pair.h"

static bool forming_is_cheaper(int d, int length, int count, int steps)
{
  double factored = (4.0 * steps + 2) * length * count;
  double formed = (double)length * d + (2.0 * steps + 2) * d * count;
  return formed < factored;
}

void qg_block_product_lay_out(qg_scratch *scratch, int d, int length, int count, int steps, bool pair,
                              qg_block_product *out)
{
  *out = (qg_block_product){.count = count, .formed = !pair && forming_is_cheaper(d, length, count, steps)};
  if (out->formed) out->gram = qg_scratch_take(scratch, (int64_t)d * d, sizeof(float));
  else
    out->tall = qg_scratch_take(scratch, (int64_t)length * count, sizeof(float));
  out->image = qg_scratch_take(scratch, (int64_t)count * d, sizeof(float));
}

void qg_block_product_open(const qg_problem *problem, qg_block_product *product)
{
  product->problem = problem;
  if (product->formed) qg_gram_f32(problem, product->gram);
}

qg_status qg_block_product_begin(qg_block_product *product, const float *block, double *trace)
{
  const qg_problem *p = product->problem;
  int d = p->d, length = p->length, count = product->count;
  if (product->formed) {
    cblas_ssymm(CblasRowMajor, CblasRight, CblasUpper, count, d, 1, product->gram, d, block, d, 0,
                product->image, d);
    *trace = qg_dot_f32((int64_t)count * d, product->image, block);
    return QG_OK;
  }
  if (p->pair) QG_TRY(qg_pair_forward(p->pair, p->side, count, block, product->tall));
  else if (p->side == QG_SIDE_RIGHT)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, length, count, d, 1, p->gradient, p->stride, block,
                d, 0, product->tall, count);
  else
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, length, d, 1, block, d, p->gradient,
                p->stride, 0, product->tall, length);
  *trace = qg_dot_f32((int64_t)count * length, product->tall, product->tall);
  return QG_OK;
}

qg_status qg_block_product_finish(qg_block_product *product)
{
  const qg_problem *p = product->problem;
  int d = p->d, length = p->length, count = product->count;
  if (product->formed) return QG_OK;
  if (p->pair) return qg_pair_back(p->pair, p->side, count, product->tall, product->image);
  if (p->side == QG_SIDE_RIGHT)
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, count, d, length, 1, product->tall, count,
                p->gradient, p->stride, 0, product->image, d);
  else
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, d, length, 1, product->tall, length,
                p->gradient, p->stride, 0, product->image, d);
  return QG_OK;
}

void qg_block_product_ritz(const qg_block_product *product, const float *block, float *ritz)
{
  const qg_problem *p = product->problem;
  int d = p->d, length = p->length, count = product->count;
  if (product->formed)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, count, d, 1, product->image, d, block, d, 0,
                ritz, count);
  else if (!p->pair && p->side == QG_SIDE_RIGHT)
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, count, length, 1, product->tall, count, 0, ritz,
                count);
  else
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasNoTrans, count, length, 1, product->tall, length, 0, ritz,
                count);
}
