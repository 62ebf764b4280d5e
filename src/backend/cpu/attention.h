/* Causal attention: entries of the operation table (contracts in qgalore/backend.h). */
#ifndef QG_BACKEND_CPU_ATTENTION_H
#define QG_BACKEND_CPU_ATTENTION_H

#include "qgalore/backend.h"

size_t qg_cpu_attention_workspace(qg_backend *be, const qg_workload *workload);
qg_status qg_cpu_attention(qg_backend *be, const qg_attention_args *args);
qg_status qg_cpu_attention_backward(qg_backend *be, const qg_attention_args *args);

#endif
