/* Operations that work row by row: entries of the operation table (contracts in qgalore/backend.h). */
#ifndef QG_BACKEND_CPU_ROWWISE_H
#define QG_BACKEND_CPU_ROWWISE_H

#include "qgalore/backend.h"

size_t qg_cpu_rowwise_workspace(int threads, const qg_workload *workload);
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
