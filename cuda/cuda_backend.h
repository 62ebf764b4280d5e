/* What the host side of the CUDA backend shares. */
#ifndef QG_CUDA_BACKEND_H
#define QG_CUDA_BACKEND_H

#include <cublas_v2.h>
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cusolverDn.h>
#include <nvtx3/nvToolsExt.h>

#include "cuda/gemm_plans.h"
#include "cuda/kernels/kernels.h"
#include "qgalore/backend.h"

/* The time line of the stream: events in a fixed ring, each with the phase that what follows it belongs to. A
 * mark for which there is no place before the next reading is left out: its time belongs to the mark before.
 */
enum { QG_CUDA_MARKS = 4096 };
typedef struct {
  cudaEvent_t event[QG_CUDA_MARKS];
  int phase[QG_CUDA_MARKS];
  int made,
      count; /* events that exist; marks since the last reading, the first of them that reading's last */
  cudaError_t error; /* of a mark; told by the next reading */
} qg_cuda_clock;

/* Of the workspace, for cuBLAS: what NVIDIA recommends for its fastest products on H100; half of it suffices
 * before. */
enum { QG_CUDA_BLAS_BYTES = 32 << 20 };

/* Sums that one operation reads back at once. */
enum { QG_CUDA_SUMS = 3 };

/* backend->impl. Operations are queued on one stream, asynchronous ones on three others (async.c).
 * The workspace begins with the part that cuBLAS uses; the rest belongs to one operation at a time. Before
 * qg_backend_reserve both are empty. */
typedef struct {
  int device;
  char place[96]; /* "device 0 (NVIDIA H100)", for messages */
  cudaStream_t stream;
  cudaStream_t copy_in, copy_out, unpack;
  cublasHandle_t blas;
  cublasLtHandle_t lt;
  cusolverDnHandle_t solver;
  cusolverDnParams_t solver_params;
  void *solver_host_work; /* of the last subspace, kept for the next */
  size_t solver_host_bytes;
  qg_gemm_plans *plans;
  void *blas_workspace, *scratch;
  size_t blas_bytes, scratch_bytes;
  qg_cuda_tables *tables; /* device memory */
  double *partial, *sums; /* device memory, [QG_CUDA_SUM_BLOCKS] and [QG_CUDA_SUMS] */
  qg_cuda_clock clock;
  bool fused_attention; /* where head size and alignment allow it */
} qg_cuda;

static inline qg_cuda *qg_cuda_of(qg_backend *be)
{
  return be->impl;
}

/* The scratch, if it holds `bytes`; QG_ERR_RUNTIME if qg_backend_reserve sized it for less. */
qg_status qg_cuda_scratch(qg_backend *be, size_t bytes, const char *operation, void **out);

/* Messages that name the call, its place in the source and the device. */
qg_status qg_cuda_fail(qg_backend *be, cudaError_t error, const char *call, const char *file, int line,
                       const char *func);
qg_status qg_cusolver_fail(qg_backend *be, cusolverStatus_t error, const char *call, const char *file,
                           int line, const char *func);
qg_status qg_cublas_fail(qg_backend *be, cublasStatus_t error, const char *call, const char *file, int line,
                         const char *func);

#define QG_CUDA(be, call)                                                             \
  do {                                                                                \
    cudaError_t qg_cuda_error_ = (call);                                              \
    if (qg_cuda_error_ != cudaSuccess)                                                \
      return qg_cuda_fail((be), qg_cuda_error_, #call, __FILE__, __LINE__, __func__); \
  } while (0)

#define QG_CUBLAS(be, call)                                                                \
  do {                                                                                     \
    cublasStatus_t qg_cublas_status_ = (call);                                             \
    if (qg_cublas_status_ != CUBLAS_STATUS_SUCCESS)                                        \
      return qg_cublas_fail((be), qg_cublas_status_, #call, __FILE__, __LINE__, __func__); \
  } while (0)

#define QG_CUSOLVER(be, call)                                                                  \
  do {                                                                                         \
    cusolverStatus_t qg_cusolver_status_ = (call);                                             \
    if (qg_cusolver_status_ != CUSOLVER_STATUS_SUCCESS)                                        \
      return qg_cusolver_fail((be), qg_cusolver_status_, #call, __FILE__, __LINE__, __func__); \
  } while (0)

/* Shows the operation in a profiler's time line from here to the end of the block. Without a profiler this
 * costs a test of one pointer. */
static inline void qg_cuda_end_range(const int *level)
{
  (void)level;
  nvtxRangePop();
}
#define QG_CUDA_RANGE(name) \
  __attribute__((cleanup(qg_cuda_end_range), unused)) const int qg_range_ = nvtxRangePushA(name)

static inline cudaDataType qg_cuda_type(qg_dtype type)
{
  return type == QG_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

/* device.c */
qg_status qg_cuda_open(const qg_backend_request *request, const qg_backend_ops *ops, qg_backend **out);
qg_status qg_cuda_plan(const qg_backend_request *request, const qg_backend_ops *ops, qg_backend **out);
void qg_cuda_close(qg_backend *be);
/* As in qg_plugin. */
void qg_cuda_list(char *buffer, size_t size);

/* memory.c */
qg_status qg_cuda_alloc(qg_backend *be, size_t bytes, void **out);
void qg_cuda_release(qg_backend *be, void *memory, size_t bytes);
qg_status qg_cuda_alloc_host(qg_backend *be, size_t bytes, void **out);
void qg_cuda_release_host(qg_backend *be, void *memory, size_t bytes);
qg_status qg_cuda_copy_in(qg_backend *be, void *device, const void *host, size_t bytes);
qg_status qg_cuda_copy_out(qg_backend *be, void *host, const void *device, size_t bytes);
qg_status qg_cuda_zero(qg_backend *be, void *memory, size_t bytes);
qg_status qg_cuda_sync(qg_backend *be);
qg_status qg_cuda_memory_info(qg_backend *be, size_t *free, size_t *total);
void qg_cuda_set_workspace(qg_backend *be, void *memory, size_t bytes);

/* clock.c */
qg_status qg_cuda_clock_open(qg_backend *be);
void qg_cuda_clock_close(qg_backend *be);
void qg_cuda_clock_begin(qg_backend *be, const char *name, int phase);
void qg_cuda_clock_end(qg_backend *be, int phase);
qg_status qg_cuda_clock_read(qg_backend *be, double *seconds, int phases);

/* gemm.c */
qg_status qg_cuda_gemm(qg_backend *be, const qg_gemm_args *args);

/* attention.c */
size_t qg_cuda_attention_bytes(const qg_backend *be, const qg_workload *workload);
qg_status qg_cuda_attention(qg_backend *be, const qg_attention_args *args);
qg_status qg_cuda_attention_backward(qg_backend *be, const qg_attention_args *args);

/* attention_fused.c: whether heads of a size are fused, and whether the views of a call can be. */
bool qg_cuda_fuses_heads(const qg_backend *be, int64_t head_dim);
bool qg_cuda_fuses_forward(const qg_backend *be, const qg_attention_args *args);
bool qg_cuda_fuses_backward(const qg_backend *be, const qg_attention_args *args);
size_t qg_cuda_attention_fused_bytes(int64_t heads, int64_t tokens);
qg_status qg_cuda_attention_fused(qg_backend *be, const qg_attention_args *args);
qg_status qg_cuda_attention_fused_backward(qg_backend *be, const qg_attention_args *args);

/* rowwise.c */
size_t qg_cuda_rowwise_bytes(const qg_workload *workload);
qg_status qg_cuda_convert(qg_backend *be, qg_view dst, qg_view src);
qg_status qg_cuda_axpy(qg_backend *be, float alpha, qg_view src, qg_view dst);
qg_status qg_cuda_sum_squares(qg_backend *be, qg_view src, double *out, qg_finite_guard *guard);
qg_status qg_cuda_embed(qg_backend *be, qg_view table, const int32_t *ids, qg_view out);
qg_status qg_cuda_embed_backward(qg_backend *be, const int32_t *ids, qg_view d_out, qg_view grad);
qg_status qg_cuda_rmsnorm(qg_backend *be, const qg_rmsnorm_args *args);
qg_status qg_cuda_rmsnorm_backward(qg_backend *be, const qg_rmsnorm_backward_args *args);
qg_status qg_cuda_rope(qg_backend *be, const qg_rope_args *args);
qg_status qg_cuda_swiglu(qg_backend *be, const qg_swiglu_args *args);
qg_status qg_cuda_swiglu_backward(qg_backend *be, const qg_swiglu_args *args);
qg_status qg_cuda_cross_entropy(qg_backend *be, const qg_cross_entropy_args *args);

/* quantize.c */
qg_status qg_cuda_quantize_int8(qg_backend *be, const float *src, int64_t count, qg_int8_rule rule,
                                qg_int8_store dst);
qg_status qg_cuda_dequantize_int8(qg_backend *be, qg_int8_store src, qg_view dst);
qg_status qg_cuda_unpack_int8(qg_backend *be, cudaStream_t stream, qg_int8_store src, qg_view dst);
qg_status qg_cuda_quantize_int4(qg_backend *be, const float *src, int64_t count, bool include_zero,
                                qg_int4_store dst);
qg_status qg_cuda_dequantize_int4(qg_backend *be, qg_int4_store src, int64_t count, void *dst, qg_dtype type);
qg_status qg_cuda_update_int8(qg_backend *be, const qg_update_int8_args *args);
qg_status qg_cuda_update_dense(qg_backend *be, const qg_update_dense_args *args);
qg_status qg_cuda_adam(qg_backend *be, const qg_adam_args *args);
qg_status qg_cuda_read_moments(qg_backend *be, const qg_moments_args *args);
qg_status qg_cuda_write_moments(qg_backend *be, const qg_moments_args *args);

/* async.c */
extern const qg_backend_async_ops qg_cuda_async;
qg_status qg_cuda_async_open(qg_backend *be);
void qg_cuda_async_close(qg_backend *be);

/* subspace.c, subspace_problem.c */
size_t qg_cuda_subspace_bytes(qg_backend *be, int64_t m, int64_t n, int64_t rank, qg_device_solver solver);
qg_status qg_cuda_subspace(qg_backend *be, qg_subspace_args *args);

/* basis_change.c */
qg_status qg_cuda_basis_change(qg_backend *be, qg_basis_change_args *args);

#endif
