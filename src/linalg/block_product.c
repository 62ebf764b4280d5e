#include "linalg/block_product.h"

#include <cblas.h>

#include "linalg/pair.h"
#include "qgalore/base.h"
#include "qgalore/host.h"

static bool splits(qg_product_plan plan)
{
  return plan.bf16 && !plan.pair && qg_host_bf16_products() != QG_HOST_BF16_NONE;
}

static bool splits_fine(qg_product_plan plan)
{
  return splits(plan) && plan.fine && qg_host_bf16_products() == QG_HOST_BF16_FAR;
}

void qg_block_product_lay_out(qg_scratch *scratch, int d, int length, int count, qg_product_plan plan,
                              qg_block_product *out)
{
  int64_t elements = (int64_t)d * length, in_block = (int64_t)count * d, in_tall = (int64_t)count * length;
  *out = (qg_block_product){.plan = plan};
  out->tall = qg_scratch_take(scratch, in_tall, sizeof(float));
  out->image = qg_scratch_take(scratch, in_block, sizeof(float));
  if (!splits(plan)) return;
  out->high = qg_scratch_take(scratch, elements, sizeof(uint16_t));
  if (splits_fine(plan)) out->low = qg_scratch_take(scratch, elements, sizeof(uint16_t));
  out->block_high = qg_scratch_take(scratch, in_block, sizeof(uint16_t));
  out->block_low = qg_scratch_take(scratch, in_block, sizeof(uint16_t));
  out->tall_high = qg_scratch_take(scratch, in_tall, sizeof(uint16_t));
  out->workspace = qg_scratch_take(scratch, (int64_t)qg_host_gemm_bytes(plan.threads), 1);
}

void qg_block_product_open(const qg_problem *problem, qg_block_product *product)
{
  enum { PIECE = 1 << 14 };
  int64_t elements = (int64_t)problem->d * problem->length;
  product->problem = problem;
  if (!product->high) return;
#pragma omp parallel for num_threads(product->plan.threads)
  for (int64_t first = 0; first < elements; first += PIECE)
    qg_host_split(qg_min_i64(PIECE, elements - first), problem->gradient + first, product->high + first,
                  product->low ? product->low + first : NULL);
}

static bool is_split(const qg_block_product *product, qg_product_grade grade)
{
  return product->high && (product->low || !(grade & QG_PRODUCT_WHOLE_GRADIENT));
}

static qg_view bf16(const uint16_t *data, int64_t rows, int64_t cols)
{
  return qg_view_make((void *)data, QG_BF16, rows, cols);
}

static qg_view f32(float *data, int64_t rows, int64_t cols)
{
  return qg_view_make(data, QG_F32, rows, cols);
}

/* c (+)= op(a) op(b) */
static void add_split(const qg_block_product *product, qg_gemm_args gemm, bool add)
{
  gemm.alpha = 1.0f;
  gemm.beta = add ? 1.0f : 0.0f;
  qg_host_gemm(product->plan.threads, product->workspace, &gemm);
}

/* T (+)= v g */
static void add_tall(const qg_block_product *product, const uint16_t *v, const uint16_t *g, int count,
                     bool add)
{
  int64_t d = product->problem->d, length = product->problem->length;
  qg_view block = bf16(v, count, d);
  if (product->problem->side == QG_SIDE_RIGHT)
    add_split(
        product,
        (qg_gemm_args){
            .a = bf16(g, length, d), .b = block, .c = f32(product->tall, length, count), .trans_b = true},
        add);
  else
    add_split(product,
              (qg_gemm_args){.a = block, .b = bf16(g, d, length), .c = f32(product->tall, count, length)},
              add);
}

/* V H (+)= T g */
static void add_image(const qg_block_product *product, const uint16_t *g, int count, bool add)
{
  int64_t d = product->problem->d, length = product->problem->length;
  qg_view image = f32(product->image, count, d);
  if (product->problem->side == QG_SIDE_RIGHT)
    add_split(product,
              (qg_gemm_args){.a = bf16(product->tall_high, length, count),
                             .b = bf16(g, length, d),
                             .c = image,
                             .trans_a = true},
              add);
  else
    add_split(product,
              (qg_gemm_args){.a = bf16(product->tall_high, count, length),
                             .b = bf16(g, d, length),
                             .c = image,
                             .trans_b = true},
              add);
}

static void begin_split(qg_block_product *p, qg_product_grade grade, int count, const float *block)
{
  bool whole = grade & QG_PRODUCT_WHOLE_BLOCK;
  qg_host_split((int64_t)count * p->problem->d, block, p->block_high, whole ? p->block_low : NULL);
  add_tall(p, p->block_high, p->high, count, false);
  if (whole) add_tall(p, p->block_low, p->high, count, true);
  if (grade & QG_PRODUCT_WHOLE_GRADIENT) add_tall(p, p->block_high, p->low, count, true);
}

static void finish_split(qg_block_product *p, qg_product_grade grade, int count)
{
  qg_host_split((int64_t)count * p->problem->length, p->tall, p->tall_high, NULL);
  add_image(p, p->high, count, false);
  if (grade & QG_PRODUCT_WHOLE_GRADIENT) add_image(p, p->low, count, true);
}

static void begin_f32(const qg_block_product *product, int count, const float *block)
{
  const qg_problem *p = product->problem;
  if (p->side == QG_SIDE_RIGHT)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, p->length, count, p->d, 1, p->gradient, p->stride,
                block, p->d, 0, product->tall, count);
  else
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, p->length, p->d, 1, block, p->d,
                p->gradient, p->stride, 0, product->tall, p->length);
}

static void finish_f32(const qg_block_product *product, int count)
{
  const qg_problem *p = product->problem;
  if (p->side == QG_SIDE_RIGHT)
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, count, p->d, p->length, 1, product->tall, count,
                p->gradient, p->stride, 0, product->image, p->d);
  else
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, p->d, p->length, 1, product->tall, p->length,
                p->gradient, p->stride, 0, product->image, p->d);
}

qg_status qg_block_product_begin(qg_block_product *product, qg_product_grade grade, int count,
                                 const float *block, double *trace)
{
  const qg_problem *p = product->problem;
  if (p->pair) QG_TRY(qg_pair_forward(p->pair, p->side, count, block, product->tall));
  else if (is_split(product, grade))
    begin_split(product, grade, count, block);
  else
    begin_f32(product, count, block);
  *trace = qg_host_sum_squares(QG_F32, (int64_t)count * p->length, product->tall);
  return QG_OK;
}

double qg_block_product_norm2(const qg_block_product *product, qg_product_grade grade)
{
  const qg_problem *p = product->problem;
  if ((grade & QG_PRODUCT_WHOLE_GRADIENT) || !is_split(product, grade)) return p->norm2;
  return qg_host_sum_squares(QG_BF16, (int64_t)p->d * p->length, product->high);
}

qg_status qg_block_product_finish(qg_block_product *product, qg_product_grade grade, int count)
{
  const qg_problem *p = product->problem;
  if (p->pair) return qg_pair_back(p->pair, p->side, count, product->tall, product->image);
  if (is_split(product, grade)) finish_split(product, grade, count);
  else
    finish_f32(product, count);
  return QG_OK;
}

void qg_block_product_ritz(const qg_block_product *product, int count, float *ritz)
{
  const qg_problem *p = product->problem;
  bool turned = p->side == QG_SIDE_RIGHT && !p->pair;
  cblas_ssyrk(CblasRowMajor, CblasUpper, turned ? CblasTrans : CblasNoTrans, count, p->length, 1,
              product->tall, turned ? count : p->length, 0, ritz, count);
}
