/* bf16 GEMM on processors with products of bf16 (panel.h). */
#ifndef QG_BACKEND_CPU_BF16_PANEL_GEMM_H
#define QG_BACKEND_CPU_BF16_PANEL_GEMM_H

#include "qgalore/backend.h"

/* Bytes of workspace, aligned to 64. */
size_t qg_panel_gemm_workspace(int threads);
/* a and b bf16, c bf16 or f32, any layout, alpha and beta; qg_panels() is not NULL. The workspace is all that
 * it writes besides C: calls with one of their own may run at the same time. */
void qg_panel_gemm(int threads, void *workspace, const qg_gemm_args *args);

#endif
