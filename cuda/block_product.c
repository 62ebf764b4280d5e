/* The product of a block of vectors with H, in two halves, T = V G^T and V H = T G; written for the right
 * side. In bf16 runs on the tensor cores, with the host's grades of precision (linalg/gram_product.h): G,
 * the block and T are rounded for vectors on their way; where the energy of the block counts V = high + low,
 * with 8 bits in each. T comes in fp32. G is rounded slice after slice of its long side, anew in every half:
 * to read it once more costs a tenth of the product, and a rounded copy of the whole would be the largest
 * array of a refresh. */
#include "cuda/block_product.h"

#include "qgalore/base.h"

/* A slice of the long side: of G, and of the image. */
typedef struct {
  qg_view gradient, image;
} product_slice;

static product_slice slice_at(const qg_cuda_problem *p, int64_t first)
{
  int64_t width = qg_min_i64(p->slice, p->length - first);
  qg_view image = qg_cuda_matrix(p->image, p->count, p->length);
  return (product_slice){
      .gradient = p->left ? qg_view_cols(p->gradient, first, width) : qg_view_rows(p->gradient, first, width),
      .image = qg_view_cols(image, first, width)};
}

static qg_status round_gradient(qg_backend *be, const qg_cuda_problem *p, product_slice *s)
{
  qg_view rounded = qg_view_make(p->rounded, QG_BF16, s->gradient.rows, s->gradient.cols);
  QG_TRY(qg_cuda_convert(be, rounded, s->gradient));
  s->gradient = rounded;
  return QG_OK;
}

/* image (+)= v G^T (right) or v G (left) */
static qg_status add_image(qg_backend *be, const qg_cuda_problem *p, product_slice s, qg_view v, bool add)
{
  qg_gemm_args args = {
      .a = v, .b = s.gradient, .c = s.image, .trans_b = !p->left, .alpha = 1.0f, .beta = add ? 1.0f : 0.0f};
  return qg_cuda_gemm(be, &args);
}

/* block (+)= image G (right) or image G^T (left) */
static qg_status add_block(qg_backend *be, const qg_cuda_problem *p, product_slice s, bool add)
{
  qg_gemm_args args = {.a = s.image,
                       .b = s.gradient,
                       .c = qg_cuda_matrix(p->block, p->count, p->d),
                       .trans_b = p->left,
                       .alpha = 1.0f,
                       .beta = add ? 1.0f : 0.0f};
  return qg_cuda_gemm(be, &args);
}

/* The halves of the block lie where its Gram matrix and its mixture do at other times. */
static qg_status begin_rounded(qg_backend *be, const qg_cuda_problem *p, bool whole)
{
  uint16_t *halves = (uint16_t *)p->rows;
  qg_view high = qg_view_make(halves, QG_BF16, p->count, p->d),
          low = qg_view_make(halves + p->count * p->d, QG_BF16, p->count, p->d);
  QG_CUDA(be, qg_k_split(qg_cuda_of(be)->stream, p->block, p->count * p->d, high.data, low.data));
  for (int64_t first = 0; first < p->length; first += p->slice) {
    product_slice s = slice_at(p, first);
    QG_TRY(round_gradient(be, p, &s));
    QG_TRY(add_image(be, p, s, high, false));
    if (whole) QG_TRY(add_image(be, p, s, low, true));
  }
  return QG_OK;
}

/* A slice of the image lies in the same place. */
static qg_status finish_rounded(qg_backend *be, const qg_cuda_problem *p)
{
  for (int64_t first = 0; first < p->length; first += p->slice) {
    product_slice s = slice_at(p, first);
    qg_view image = qg_view_make(p->rows, QG_BF16, s.image.rows, s.image.cols);
    QG_TRY(qg_cuda_convert(be, image, s.image));
    s.image = image;
    QG_TRY(round_gradient(be, p, &s));
    QG_TRY(add_block(be, p, s, first > 0));
  }
  return QG_OK;
}

qg_status qg_cuda_begin_product(qg_backend *be, const qg_cuda_problem *p, bool whole)
{
  if (p->rounded) QG_TRY(begin_rounded(be, p, whole));
  else
    QG_TRY(add_image(be, p, slice_at(p, 0), qg_cuda_matrix(p->block, p->count, p->d), false));
  return qg_cuda_sum_squares(be, qg_cuda_matrix(p->image, p->count, p->length), &p->stats->energy, NULL);
}

qg_status qg_cuda_finish_product(qg_backend *be, const qg_cuda_problem *p)
{
  return p->rounded ? finish_rounded(be, p) : add_block(be, p, slice_at(p, 0), false);
}
