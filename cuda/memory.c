/* Memory, transfers and scratch. */
#include <string.h>

#include "cuda/cuda_backend.h"

qg_status qg_cuda_scratch(qg_backend *be, size_t bytes, const char *operation, void **out)
{
  qg_cuda *cuda = qg_cuda_of(be);
  QG_CHECK(bytes <= cuda->scratch_bytes, QG_ERR_RUNTIME,
           "%s needs %zu bytes of workspace, but %zu were reserved", operation, bytes, cuda->scratch_bytes);
  *out = cuda->scratch;
  return QG_OK;
}

qg_status qg_cuda_alloc(qg_backend *be, size_t bytes, void **out)
{
  cudaError_t error = cudaMalloc(out, bytes);
  QG_CHECK(error != cudaErrorMemoryAllocation, QG_ERR_RESOURCE, "%s has no memory for %zu bytes",
           qg_cuda_of(be)->place, bytes);
  QG_CUDA(be, error);
  QG_CUDA(be, cudaMemsetAsync(*out, 0, bytes, qg_cuda_of(be)->stream));
  return QG_OK;
}

void qg_cuda_release(qg_backend *be, void *memory, size_t bytes)
{
  (void)bytes;
  (void)be;
  cudaFree(memory);
}

/* Pinned, so that copies run while the processor goes on. */
qg_status qg_cuda_alloc_host(qg_backend *be, size_t bytes, void **out)
{
  cudaError_t error = cudaHostAlloc(out, bytes, cudaHostAllocDefault);
  QG_CHECK(error != cudaErrorMemoryAllocation, QG_ERR_RESOURCE, "no pinned host memory for %zu bytes", bytes);
  QG_CUDA(be, error);
  memset(*out, 0, bytes);
  return QG_OK;
}

void qg_cuda_release_host(qg_backend *be, void *memory, size_t bytes)
{
  (void)bytes;
  (void)be;
  cudaFreeHost(memory);
}

/* Waits, so that the caller may reuse the host memory at once, pinned or not. Steps upload tokens and
 * received activations only, which they have to wait for anyway. */
qg_status qg_cuda_copy_in(qg_backend *be, void *device, const void *host, size_t bytes)
{
  QG_CUDA(be, cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, qg_cuda_of(be)->stream));
  return qg_cuda_sync(be);
}

qg_status qg_cuda_copy_out(qg_backend *be, void *host, const void *device, size_t bytes)
{
  QG_CUDA(be, cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, qg_cuda_of(be)->stream));
  return qg_cuda_sync(be);
}

qg_status qg_cuda_zero(qg_backend *be, void *memory, size_t bytes)
{
  QG_CUDA(be, cudaMemsetAsync(memory, 0, bytes, qg_cuda_of(be)->stream));
  return QG_OK;
}

qg_status qg_cuda_sync(qg_backend *be)
{
  QG_CUDA(be, cudaStreamSynchronize(qg_cuda_of(be)->stream));
  return QG_OK;
}

qg_status qg_cuda_memory_info(qg_backend *be, size_t *free, size_t *total)
{
  QG_CUDA(be, cudaMemGetInfo(free, total));
  return QG_OK;
}

void qg_cuda_set_workspace(qg_backend *be, void *memory, size_t bytes)
{
  qg_cuda *cuda = qg_cuda_of(be);
  cuda->blas_workspace = memory;
  cuda->blas_bytes = bytes < QG_CUDA_BLAS_BYTES ? bytes : QG_CUDA_BLAS_BYTES;
  cuda->scratch = (char *)memory + cuda->blas_bytes;
  cuda->scratch_bytes = bytes - cuda->blas_bytes;
  /* Plans were made for the workspace of their time. */
  qg_gemm_plans_clear(cuda->plans);
  cublasSetWorkspace(cuda->blas, cuda->blas_workspace, cuda->blas_bytes);
}
