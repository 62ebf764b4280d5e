#include "linalg/gram_product.h"

#include <cblas.h>

#include "linalg/implicit_gradient.h"
#include "qgalore/backend/host.h"
#include "qgalore/base.h"

static bool splits(qg_product_options options)
{
  return options.bf16 && !options.implicit && qg_host_bf16_products() != QG_HOST_BF16_NONE;
}

static bool splits_fine(qg_product_options options)
{
  return splits(options) && options.fine && qg_host_bf16_products() == QG_HOST_BF16_FAR;
}

void qg_gram_product_lay_out(qg_scratch *scratch, int d, int length, int count, qg_product_options options,
                             qg_gram_product *out)
{
  int64_t elements = (int64_t)d * length, in_block = (int64_t)count * d, in_tall = (int64_t)count * length;
  *out = (qg_gram_product){.options = options};
  out->tall = qg_scratch_take(scratch, in_tall, sizeof(float));
  out->image = qg_scratch_take(scratch, in_block, sizeof(float));
  if (!splits(options)) return;
  out->high = qg_scratch_take(scratch, elements, sizeof(uint16_t));
  if (splits_fine(options)) out->low = qg_scratch_take(scratch, elements, sizeof(uint16_t));
  out->block_high = qg_scratch_take(scratch, in_block, sizeof(uint16_t));
  out->block_low = qg_scratch_take(scratch, in_block, sizeof(uint16_t));
  out->tall_high = qg_scratch_take(scratch, in_tall, sizeof(uint16_t));
  out->workspace = qg_scratch_take(scratch, (int64_t)qg_host_gemm_bytes(options.threads), 1);
}

void qg_gram_product_open(const qg_projection_problem *problem, qg_gram_product *product)
{
  enum { PIECE = 1 << 14 };
  int64_t elements = (int64_t)problem->d * problem->length;
  product->problem = problem;
  if (!product->high) return;
#pragma omp parallel for num_threads(product->options.threads)
  for (int64_t first = 0; first < elements; first += PIECE)
    qg_host_split(qg_min_i64(PIECE, elements - first), problem->gradient + first, product->high + first,
                  product->low ? product->low + first : NULL);
}

static bool is_split(const qg_gram_product *product, qg_product_grade grade)
{
  return product->high && (product->low || !(grade & QG_PRODUCT_WHOLE_GRADIENT));
}

/* [m, n], without a gap between rows */
static qg_view gradient_as(const qg_projection_problem *p, qg_dtype type, const void *data)
{
  bool right = p->side == QG_SIDE_RIGHT;
  return qg_view_make((void *)data, type, right ? p->length : p->d, right ? p->d : p->length);
}

static qg_view tall_as(const qg_projection_problem *p, qg_dtype type, const void *data, int count)
{
  bool right = p->side == QG_SIDE_RIGHT;
  return qg_view_make((void *)data, type, right ? p->length : count, right ? count : p->length);
}

static CBLAS_TRANSPOSE transposed(bool yes)
{
  return yes ? CblasTrans : CblasNoTrans;
}

/* c (+)= op(a) op(b), a and b in bf16 or fp32 */
static void add_product(const qg_gram_product *product, qg_gemm_args gemm, bool add)
{
  const qg_view *a = &gemm.a, *b = &gemm.b, *c = &gemm.c;
  gemm.alpha = 1.0f;
  gemm.beta = add ? 1.0f : 0.0f;
  if (a->type == QG_BF16) qg_host_gemm(product->options.threads, product->workspace, &gemm);
  else
    cblas_sgemm(CblasRowMajor, transposed(gemm.trans_a), transposed(gemm.trans_b), (int)c->rows, (int)c->cols,
                (int)(gemm.trans_a ? a->rows : a->cols), gemm.alpha, a->data, (int)a->cols, b->data,
                (int)b->cols, gemm.beta, c->data, (int)c->cols);
}

/* T (+)= v g */
static void add_tall(const qg_gram_product *product, qg_dtype type, const void *v, const void *g, int count,
                     bool add)
{
  const qg_projection_problem *p = product->problem;
  qg_view block = qg_view_make((void *)v, type, count, p->d), gradient = gradient_as(p, type, g);
  qg_view tall = tall_as(p, QG_F32, product->tall, count);
  qg_gemm_args gemm = p->side == QG_SIDE_RIGHT
                          ? (qg_gemm_args){.a = gradient, .b = block, .c = tall, .trans_b = true}
                          : (qg_gemm_args){.a = block, .b = gradient, .c = tall};
  add_product(product, gemm, add);
}

/* V H (+)= t g */
static void add_image(const qg_gram_product *product, qg_dtype type, const void *t, const void *g, int count,
                      bool add)
{
  const qg_projection_problem *p = product->problem;
  bool right = p->side == QG_SIDE_RIGHT;
  add_product(product,
              (qg_gemm_args){.a = tall_as(p, type, t, count),
                             .b = gradient_as(p, type, g),
                             .c = qg_view_make(product->image, QG_F32, count, p->d),
                             .trans_a = right,
                             .trans_b = !right},
              add);
}

static void begin_split(qg_gram_product *p, qg_product_grade grade, int count, const float *block)
{
  bool whole = grade & QG_PRODUCT_WHOLE_BLOCK;
  qg_host_split((int64_t)count * p->problem->d, block, p->block_high, whole ? p->block_low : NULL);
  add_tall(p, QG_BF16, p->block_high, p->high, count, false);
  if (whole) add_tall(p, QG_BF16, p->block_low, p->high, count, true);
  if (grade & QG_PRODUCT_WHOLE_GRADIENT) add_tall(p, QG_BF16, p->block_high, p->low, count, true);
}

static void finish_split(qg_gram_product *p, qg_product_grade grade, int count)
{
  qg_host_split((int64_t)count * p->problem->length, p->tall, p->tall_high, NULL);
  add_image(p, QG_BF16, p->tall_high, p->high, count, false);
  if (grade & QG_PRODUCT_WHOLE_GRADIENT) add_image(p, QG_BF16, p->tall_high, p->low, count, true);
}

qg_status qg_gram_product_begin(qg_gram_product *product, qg_product_grade grade, int count,
                                const float *block, double *trace)
{
  const qg_projection_problem *p = product->problem;
  if (p->implicit) QG_TRY(qg_implicit_forward(p->implicit, p->side, count, block, product->tall));
  else if (is_split(product, grade))
    begin_split(product, grade, count, block);
  else
    add_tall(product, QG_F32, block, p->gradient, count, false);
  *trace = qg_host_sum_squares(QG_F32, (int64_t)count * p->length, product->tall);
  return QG_OK;
}

double qg_gram_product_norm2(const qg_gram_product *product, qg_product_grade grade)
{
  const qg_projection_problem *p = product->problem;
  if ((grade & QG_PRODUCT_WHOLE_GRADIENT) || !is_split(product, grade)) return p->norm2;
  return qg_host_sum_squares(QG_BF16, (int64_t)p->d * p->length, product->high);
}

qg_status qg_gram_product_finish(qg_gram_product *product, qg_product_grade grade, int count)
{
  const qg_projection_problem *p = product->problem;
  if (p->implicit) return qg_implicit_back(p->implicit, p->side, count, product->tall, product->image);
  if (is_split(product, grade)) finish_split(product, grade, count);
  else
    add_image(product, QG_F32, product->tall, p->gradient, count, false);
  return QG_OK;
}

void qg_gram_product_ritz(const qg_gram_product *product, int count, float *ritz)
{
  const qg_projection_problem *p = product->problem;
  bool turned = p->side == QG_SIDE_RIGHT && !p->implicit;
  cblas_ssyrk(CblasRowMajor, CblasUpper, turned ? CblasTrans : CblasNoTrans, count, p->length, 1,
              product->tall, turned ? count : p->length, 0, ritz, count);
}
