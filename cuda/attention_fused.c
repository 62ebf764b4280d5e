/* Causal attention in one kernel a direction, or two: kernels/attention_forward.cu, attention_backward.cu. */
#include "cuda/cuda_backend.h"
#include "qgalore/backend/attention.h"
#include "qgalore/base.h"

enum { SMALLEST_HEAD = 16, LARGEST_HEAD = 128, ACCESS_BYTES = 16 };

bool qg_cuda_fuses_heads(const qg_backend *be, int64_t head_dim)
{
  const qg_cuda *cuda = be->impl;
  return cuda->fused_attention && head_dim % SMALLEST_HEAD == 0 && head_dim <= LARGEST_HEAD;
}

/* Heads are multiples of 16 elements, so what holds for a row's first one holds for all. */
static bool is_aligned(qg_view view)
{
  return view.type == QG_BF16 && (uintptr_t)view.data % ACCESS_BYTES == 0 &&
         qg_dtype_bytes(view.type, view.stride) % ACCESS_BYTES == 0;
}

/* The kernels take as many keys as queries; more go in blocks. */
bool qg_cuda_fuses_forward(const qg_backend *be, const qg_attention_args *a)
{
  return qg_cuda_fuses_heads(be, a->head_dim) && !qg_attention_has_more_keys(a) && is_aligned(a->q) &&
         is_aligned(a->k) && is_aligned(a->v) && is_aligned(a->o);
}

bool qg_cuda_fuses_backward(const qg_backend *be, const qg_attention_args *a)
{
  return qg_cuda_fuses_forward(be, a) && is_aligned(a->d_o) && is_aligned(a->d_q) && is_aligned(a->d_k) &&
         is_aligned(a->d_v);
}

size_t qg_cuda_attention_fused_bytes(int64_t heads, int64_t tokens)
{
  return qg_dtype_bytes(QG_F32, heads * tokens);
}

qg_status qg_cuda_attention_fused(qg_backend *be, const qg_attention_args *args)
{
  QG_CUDA(be, qg_k_attention_forward(qg_cuda_of(be)->stream, args));
  return QG_OK;
}

qg_status qg_cuda_attention_fused_backward(qg_backend *be, const qg_attention_args *args)
{
  void *delta;
  QG_TRY(qg_cuda_scratch(be, qg_cuda_attention_fused_bytes(args->heads, args->q.rows), "fused attention",
                         &delta));
  QG_CUDA(be, qg_k_attention_backward(qg_cuda_of(be)->stream, args, delta));
  return QG_OK;
}
