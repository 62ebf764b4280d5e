/* What the registry finds in the shared object: the table of operations and how to open it. */
#include "qgalore/backend/plugin.h"

#include "cuda/cuda_backend.h"
#include "qgalore/base.h"

static size_t workspace_bytes(qg_backend *be, const qg_workload *workload)
{
  return QG_CUDA_BLAS_BYTES +
         qg_max_size(qg_cuda_attention_bytes(be, workload), qg_cuda_rowwise_bytes(workload));
}

static const qg_backend_ops cuda_ops = {
    .name = "cuda",
    .unified_memory = false,
    .async = &qg_cuda_async,
    .alloc = qg_cuda_alloc,
    .release = qg_cuda_release,
    .alloc_host = qg_cuda_alloc_host,
    .release_host = qg_cuda_release_host,
    .copy_in = qg_cuda_copy_in,
    .copy_out = qg_cuda_copy_out,
    .zero = qg_cuda_zero,
    .sync = qg_cuda_sync,
    .memory_info = qg_cuda_memory_info,
    .clock_begin = qg_cuda_clock_begin,
    .clock_end = qg_cuda_clock_end,
    .clock_read = qg_cuda_clock_read,
    .workspace_bytes = workspace_bytes,
    .set_workspace = qg_cuda_set_workspace,
    .gemm = qg_cuda_gemm,
    .convert = qg_cuda_convert,
    .axpy = qg_cuda_axpy,
    .sum_squares = qg_cuda_sum_squares,
    .embed = qg_cuda_embed,
    .embed_backward = qg_cuda_embed_backward,
    .rmsnorm = qg_cuda_rmsnorm,
    .rmsnorm_backward = qg_cuda_rmsnorm_backward,
    .rope = qg_cuda_rope,
    .attention = qg_cuda_attention,
    .attention_backward = qg_cuda_attention_backward,
    .swiglu = qg_cuda_swiglu,
    .swiglu_backward = qg_cuda_swiglu_backward,
    .cross_entropy = qg_cuda_cross_entropy,
    .quantize_int8 = qg_cuda_quantize_int8,
    .dequantize_int8 = qg_cuda_dequantize_int8,
    .quantize_int4 = qg_cuda_quantize_int4,
    .dequantize_int4 = qg_cuda_dequantize_int4,
    .update_int8 = qg_cuda_update_int8,
    .update_dense = qg_cuda_update_dense,
    .adam = qg_cuda_adam,
    .read_moments = qg_cuda_read_moments,
    .write_moments = qg_cuda_write_moments,
    .subspace_bytes = qg_cuda_subspace_bytes,
    .subspace = qg_cuda_subspace,
    .basis_change = qg_cuda_basis_change,
};

static qg_status open_device(const qg_backend_request *request, qg_backend **out)
{
  return qg_cuda_open(request, &cuda_ops, out);
}

static qg_status plan_device(const qg_backend_request *request, qg_backend **out)
{
  return qg_cuda_plan(request, &cuda_ops, out);
}

const qg_plugin QG_PLUGIN_SYMBOL = {
    .version = QG_VERSION,
    .ops_bytes = QG_PLUGIN_OPS_BYTES,
    .backend_bytes = sizeof(qg_backend),
    .open = open_device,
    .plan = plan_device,
    .list = qg_cuda_list,
};
