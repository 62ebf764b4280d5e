/* What the operations of the CPU backend share: its state, the workspace, kernels of the instruction set. */
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

#endif
