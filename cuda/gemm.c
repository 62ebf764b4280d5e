/* GEMM through cuBLASLt. Row-major C = op(A) op(B) is column-major C^T = op(B)^T op(A)^T: the operands change
 * places and keep their transposition. */
#include "cuda/cuda_backend.h"
#include "qgalore/base.h"

/* The largest power of two up to 16 that divides the address and the bytes of a row. */
static int64_t alignment_of(qg_view view)
{
  uintptr_t bits = (uintptr_t)view.data | (uintptr_t)qg_dtype_bytes(view.type, view.stride) | 16u;
  return (int64_t)(bits & (~bits + 1u));
}

static qg_gemm_key key_of(const qg_gemm_args *g)
{
  return (qg_gemm_key){.m = g->c.cols,
                       .n = g->c.rows,
                       .k = g->trans_a ? g->a.rows : g->a.cols,
                       .lda = g->b.stride,
                       .ldb = g->a.stride,
                       .ldc = g->c.stride,
                       .trans_a = g->trans_b,
                       .trans_b = g->trans_a,
                       .operand_type = qg_cuda_type(g->a.type),
                       .result_type = qg_cuda_type(g->c.type),
                       .align_a = alignment_of(g->b),
                       .align_b = alignment_of(g->a),
                       .align_c = alignment_of(g->c)};
}

/* Shapes that cuBLASLt has no algorithm for, such as bf16 operands at odd addresses. */
static qg_status multiply_plainly(qg_backend *be, const qg_gemm_key *key, const qg_gemm_args *g)
{
  qg_cuda *cuda = qg_cuda_of(be);
  int m, n, k, lda, ldb, ldc;
  QG_TRY(qg_narrow_int(key->m, "columns of a GEMM", &m));
  QG_TRY(qg_narrow_int(key->n, "rows of a GEMM", &n));
  QG_TRY(qg_narrow_int(key->k, "depth of a GEMM", &k));
  QG_TRY(qg_narrow_int(key->lda, "stride of a GEMM", &lda));
  QG_TRY(qg_narrow_int(key->ldb, "stride of a GEMM", &ldb));
  QG_TRY(qg_narrow_int(key->ldc, "stride of a GEMM", &ldc));
  cudaDataType operand = (cudaDataType)key->operand_type, result = (cudaDataType)key->result_type;
  QG_CUBLAS(be, cublasGemmEx(cuda->blas, key->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N,
                             key->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N, m, n, k, &g->alpha, g->b.data, operand,
                             lda, g->a.data, operand, ldb, &g->beta, g->c.data, result, ldc,
                             CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  return QG_OK;
}

static qg_status multiply(qg_backend *be, const qg_gemm_args *g)
{
  qg_cuda *cuda = qg_cuda_of(be);
  qg_gemm_key key = key_of(g);
  const qg_gemm_plan *plan;
  QG_CUBLAS(be, qg_gemm_plan_get(cuda->plans, cuda->lt, &key, cuda->blas_bytes, &plan));
  if (!plan->found) return multiply_plainly(be, &key, g);
  QG_CUBLAS(be, cublasLtMatmul(cuda->lt, plan->product, &g->alpha, g->b.data, plan->a, g->a.data, plan->b,
                               &g->beta, g->c.data, plan->c, g->c.data, plan->c, &plan->algo,
                               cuda->blas_workspace, cuda->blas_bytes, cuda->stream));
  return QG_OK;
}

/* fp32 operands with a bf16 result, which cuBLAS does not offer: blocks of rows wait in scratch for their
 * rounding. */
static qg_status multiply_and_round(qg_backend *be, const qg_gemm_args *g)
{
  qg_cuda *cuda = qg_cuda_of(be);
  size_t row_bytes = qg_dtype_bytes(QG_F32, g->c.cols);
  int64_t most = qg_max_i64(1, qg_min_i64(g->c.rows, (int64_t)(cuda->scratch_bytes / row_bytes)));
  void *product;
  QG_TRY(qg_cuda_scratch(be, (size_t)most * row_bytes, "GEMM", &product));
  for (int64_t first = 0; first < g->c.rows; first += most) {
    int64_t count = qg_min_i64(most, g->c.rows - first);
    qg_gemm_args part = *g;
    part.a = g->trans_a ? qg_view_cols(g->a, first, count) : qg_view_rows(g->a, first, count);
    part.c = qg_view_make(product, QG_F32, count, g->c.cols);
    part.beta = 0.0f;
    QG_TRY(multiply(be, &part));
    QG_CUDA(be, qg_k_scale_add(cuda->stream, 1.0f, part.c, g->beta, qg_view_rows(g->c, first, count)));
  }
  return QG_OK;
}

qg_status qg_cuda_gemm(qg_backend *be, const qg_gemm_args *args)
{
  QG_CUDA_RANGE("gemm");
  if (args->c.rows == 0 || args->c.cols == 0) return QG_OK;
  if (args->a.type == QG_F32 && args->c.type == QG_BF16) return multiply_and_round(be, args);
  return multiply(be, args);
}
