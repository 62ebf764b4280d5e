/* The operations that are one kernel, or one with a reduction behind it. */
#include "cuda/cuda_backend.h"
#include "qgalore/base.h"

static size_t norm_partial_bytes(int64_t rows, int64_t cols)
{
  return qg_dtype_bytes(QG_F32, qg_ceil_div(rows, QG_CUDA_NORM_ROWS) * cols);
}

size_t qg_cuda_rowwise_bytes(const qg_workload *w)
{
  size_t norm = norm_partial_bytes(w->tokens, w->hidden_size);
  size_t loss = qg_dtype_bytes(QG_F64, qg_max_i64(w->logit_chunk_tokens, w->tokens));
  return norm > loss ? norm : loss;
}

qg_status qg_cuda_convert(qg_backend *be, qg_view dst, qg_view src)
{
  QG_CUDA_RANGE("convert");
  QG_CUDA(be, qg_k_convert(qg_cuda_of(be)->stream, dst, src));
  return QG_OK;
}

qg_status qg_cuda_axpy(qg_backend *be, float alpha, qg_view src, qg_view dst)
{
  QG_CUDA_RANGE("axpy");
  QG_CUDA(be, qg_k_scale_add(qg_cuda_of(be)->stream, alpha, src, 1.0f, dst));
  return QG_OK;
}

qg_status qg_cuda_sum_squares(qg_backend *be, qg_view src, double *out, qg_finite_guard *guard)
{
  QG_CUDA_RANGE("sum_squares");
  QG_CUDA(be, qg_k_sum_squares(qg_cuda_of(be)->stream, src, qg_cuda_of(be)->partial, out, guard));
  return QG_OK;
}

qg_status qg_cuda_embed(qg_backend *be, qg_view table, const int32_t *ids, qg_view out)
{
  QG_CUDA_RANGE("embed");
  QG_CUDA(be, qg_k_embed(qg_cuda_of(be)->stream, table, ids, out));
  return QG_OK;
}

qg_status qg_cuda_embed_backward(qg_backend *be, const int32_t *ids, qg_view d_out, qg_view grad)
{
  QG_CUDA_RANGE("embed_backward");
  QG_CUDA(be, qg_k_embed_backward(qg_cuda_of(be)->stream, ids, d_out, grad));
  return QG_OK;
}

qg_status qg_cuda_rmsnorm(qg_backend *be, const qg_rmsnorm_args *args)
{
  QG_CUDA_RANGE("rmsnorm");
  QG_CUDA(be, qg_k_rmsnorm(qg_cuda_of(be)->stream, args));
  return QG_OK;
}

qg_status qg_cuda_rmsnorm_backward(qg_backend *be, const qg_rmsnorm_backward_args *args)
{
  QG_CUDA_RANGE("rmsnorm_backward");
  void *partial;
  QG_TRY(qg_cuda_scratch(be, norm_partial_bytes(args->x.rows, args->x.cols), "RMSNorm backward", &partial));
  QG_CUDA(be, qg_k_rmsnorm_backward(qg_cuda_of(be)->stream, args, partial));
  return QG_OK;
}

qg_status qg_cuda_rope(qg_backend *be, const qg_rope_args *args)
{
  QG_CUDA_RANGE("rope");
  QG_CUDA(be, qg_k_rope(qg_cuda_of(be)->stream, args));
  return QG_OK;
}

qg_status qg_cuda_swiglu(qg_backend *be, const qg_swiglu_args *args)
{
  QG_CUDA_RANGE("swiglu");
  QG_CUDA(be, qg_k_swiglu(qg_cuda_of(be)->stream, args));
  return QG_OK;
}

qg_status qg_cuda_swiglu_backward(qg_backend *be, const qg_swiglu_args *args)
{
  QG_CUDA_RANGE("swiglu_backward");
  QG_CUDA(be, qg_k_swiglu_backward(qg_cuda_of(be)->stream, args));
  return QG_OK;
}

qg_status qg_cuda_cross_entropy(qg_backend *be, const qg_cross_entropy_args *args)
{
  QG_CUDA_RANGE("cross_entropy");
  void *row_loss;
  QG_TRY(qg_cuda_scratch(be, qg_dtype_bytes(QG_F64, args->logits.rows), "cross-entropy", &row_loss));
  QG_CUDA(be, qg_k_cross_entropy(qg_cuda_of(be)->stream, args, row_loss));
  return QG_OK;
}
