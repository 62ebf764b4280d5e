/* What the files of the CPU backend share. */
#ifndef QG_BACKEND_CPU_H
#define QG_BACKEND_CPU_H

#include "backend/cpu/matmul.h"
#include "backend/cpu/panel.h"
#include "backend/cpu/row_kernels.h"
#include "qgalore/backend.h"

/* backend->impl. The workspace is one block that operations use one at a time; it begins at 64-byte
 * alignment. */
typedef struct {
  char *workspace;
  size_t workspace_bytes;
  const qg_panel_kernels *panels; /* multiply bf16 on this processor; NULL with fp32 */
  bool bf16_gemm;                 /* else oneDNN does */
  qg_matmul *matmul;              /* bf16 results without fp32 scratch, or NULL */
} qg_cpu;

static inline qg_cpu *qg_cpu_of(qg_backend *be)
{
  return be->impl;
}

/* The workspace, if it holds `bytes`; QG_ERR_RUNTIME if qg_backend_reserve sized it for less. */
qg_status qg_cpu_scratch(qg_backend *be, size_t bytes, const char *operation, void **out);

/* Row kernels of an element type (QG_F32 or QG_BF16) on the instruction set in use. */
const qg_row_kernels *qg_cpu_rows(qg_dtype type);
const qg_tile_kernels *qg_cpu_tiles(void);

/* Address of row i of a view. */
static inline void *qg_row(qg_view view, int64_t i)
{
  return (char *)view.data + qg_dtype_bytes(view.type, i * view.stride);
}

bool qg_cpu_gemm_has_bf16(void);
size_t qg_cpu_gemm_workspace(qg_backend *be, const qg_workload *workload);
size_t qg_cpu_attention_workspace(qg_backend *be, const qg_workload *workload);
size_t qg_cpu_rows_workspace(int threads, const qg_workload *workload);

qg_status qg_cpu_gemm(qg_backend *be, const qg_gemm_args *args);
qg_status qg_cpu_attention(qg_backend *be, const qg_attention_args *args);
qg_status qg_cpu_attention_backward(qg_backend *be, const qg_attention_args *args);
qg_status qg_cpu_convert(qg_backend *be, qg_view dst, qg_view src);
qg_status qg_cpu_axpy(qg_backend *be, float alpha, qg_view src, qg_view dst);
qg_status qg_cpu_sum_squares(qg_backend *be, qg_view src, double *out, qg_finite_guard *guard);
qg_status qg_cpu_embed(qg_backend *be, qg_view table, const int32_t *ids, qg_view out);
qg_status qg_cpu_embed_backward(qg_backend *be, const int32_t *ids, qg_view d_out, qg_view grad);
qg_status qg_cpu_rmsnorm(qg_backend *be, const qg_rmsnorm_args *args);
qg_status qg_cpu_rmsnorm_backward(qg_backend *be, const qg_rmsnorm_backward_args *args);
qg_status qg_cpu_rope(qg_backend *be, const qg_rope_args *args);
qg_status qg_cpu_swiglu(qg_backend *be, const qg_swiglu_args *args);
qg_status qg_cpu_swiglu_backward(qg_backend *be, const qg_swiglu_args *args);
qg_status qg_cpu_cross_entropy(qg_backend *be, const qg_cross_entropy_args *args);

#endif
