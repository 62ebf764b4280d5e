/* Products of matrices: an entry of the operation table (contract in qgalore/backend.h). */
#ifndef QG_BACKEND_CPU_GEMM_H
#define QG_BACKEND_CPU_GEMM_H

#include "qgalore/backend.h"

/* Whether oneDNN multiplies bf16 on this processor. */
bool qg_cpu_gemm_has_bf16(void);
size_t qg_cpu_gemm_workspace(qg_backend *be, const qg_workload *workload);
qg_status qg_cpu_gemm(qg_backend *be, const qg_gemm_args *args);

#endif
