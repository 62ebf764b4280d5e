/* Quantised state: weights, projectors and moments. */
#include "cuda/cuda_backend.h"

static qg_status check_float_type(qg_dtype type, const char *what)
{
  QG_CHECK(type == QG_F32 || type == QG_BF16, QG_ERR_RUNTIME, "%s: elements must be f32 or bf16, not %s",
           what, qg_dtype_name(type));
  return QG_OK;
}

qg_status qg_cuda_quantize_int8(qg_backend *be, const float *src, int64_t count, qg_int8_rule rule,
                                qg_int8_store dst)
{
  QG_CUDA_RANGE("quantize_int8");
  QG_CUDA(be, qg_k_quantize_int8(qg_cuda_of(be)->stream, src, count, rule, dst));
  return QG_OK;
}

qg_status qg_cuda_unpack_int8(qg_backend *be, cudaStream_t stream, qg_int8_store src, qg_view dst)
{
  QG_TRY(check_float_type(dst.type, "dequantize_int8"));
  QG_CUDA(be, qg_k_dequantize_int8(stream, src, dst));
  return QG_OK;
}

qg_status qg_cuda_dequantize_int8(qg_backend *be, qg_int8_store src, qg_view dst)
{
  QG_CUDA_RANGE("dequantize_int8");
  return qg_cuda_unpack_int8(be, qg_cuda_of(be)->stream, src, dst);
}

qg_status qg_cuda_quantize_int4(qg_backend *be, const float *src, int64_t count, bool include_zero,
                                qg_int4_store dst)
{
  QG_CUDA_RANGE("quantize_int4");
  QG_CUDA(be, qg_k_quantize_int4(qg_cuda_of(be)->stream, src, count, include_zero, dst));
  return QG_OK;
}

qg_status qg_cuda_dequantize_int4(qg_backend *be, qg_int4_store src, int64_t count, void *dst, qg_dtype type)
{
  QG_CUDA_RANGE("dequantize_int4");
  QG_TRY(check_float_type(type, "dequantize_int4"));
  QG_CUDA(be, qg_k_dequantize_int4(qg_cuda_of(be)->stream, src, count, dst, type));
  return QG_OK;
}

qg_status qg_cuda_update_int8(qg_backend *be, const qg_update_int8_args *args)
{
  QG_CUDA_RANGE("update_int8");
  QG_CHECK(args->first % QG_GROUP == 0, QG_ERR_RUNTIME,
           "update_int8: first element %lld is not a multiple of the group of %d", (long long)args->first,
           QG_GROUP);
  QG_CUDA(be, qg_k_update_int8(qg_cuda_of(be)->stream, args));
  return QG_OK;
}

qg_status qg_cuda_update_dense(qg_backend *be, const qg_update_dense_args *args)
{
  QG_CUDA_RANGE("update_dense");
  QG_TRY(check_float_type(args->type, "update_dense"));
  QG_CUDA(be, qg_k_update_dense(qg_cuda_of(be)->stream, args));
  return QG_OK;
}

/* Either both f32 moments are given, or all of the 8-bit ones with a block. */
static qg_status check_moments(const float *m, const float *v, bool has_8bit, int64_t block, const char *what)
{
  if (m && v) return QG_OK;
  QG_CHECK(has_8bit, QG_ERR_RUNTIME, "%s: neither f32 nor 8-bit moments were given", what);
  QG_CHECK(block > 0, QG_ERR_RUNTIME, "%s: blocks of 8-bit moments need a positive length, not %lld", what,
           (long long)block);
  return QG_OK;
}

#define HAS_8BIT(args) ((args)->m_codes && (args)->v_codes && (args)->m_absmax && (args)->v_absmax)

qg_status qg_cuda_adam(qg_backend *be, const qg_adam_args *a)
{
  QG_CUDA_RANGE("adam");
  const qg_cuda *cuda = qg_cuda_of(be);
  QG_TRY(check_float_type(a->delta_type, "adam"));
  QG_TRY(check_float_type(a->grad_type, "adam"));
  QG_CHECK(a->t >= 1, QG_ERR_RUNTIME, "adam: steps count from 1, not %lld", (long long)a->t);
  QG_TRY(check_moments(a->m, a->v, HAS_8BIT(a), a->block, "adam"));
  qg_adam_factors factors =
      qg_adam_factors_make(a->grad_scale, a->lr, a->beta1, a->beta2, a->eps, a->t, a->bounded);
  if (a->m && a->v) QG_CUDA(be, qg_k_adam_f32(cuda->stream, a, factors));
  else
    QG_CUDA(be, qg_k_adam_8bit(cuda->stream, a, factors, cuda->tables));
  return QG_OK;
}

qg_status qg_cuda_read_moments(qg_backend *be, const qg_moments_args *a)
{
  QG_CUDA_RANGE("read_moments");
  QG_TRY(check_moments(a->m, a->v, HAS_8BIT(a), a->block, "read_moments"));
  QG_CUDA(be, qg_k_read_moments(qg_cuda_of(be)->stream, a, qg_cuda_of(be)->tables));
  return QG_OK;
}

qg_status qg_cuda_write_moments(qg_backend *be, const qg_moments_args *a)
{
  QG_CUDA_RANGE("write_moments");
  QG_TRY(check_moments(a->m, a->v, HAS_8BIT(a), a->block, "write_moments"));
  QG_CUDA(be, qg_k_write_moments(qg_cuda_of(be)->stream, a, qg_cuda_of(be)->tables));
  return QG_OK;
}
