/* Quantised state on the CPU: entries of the operation table (contracts in qgalore/backend.h). */
#ifndef QG_BACKEND_CPU_QUANTIZE_H
#define QG_BACKEND_CPU_QUANTIZE_H

#include "qgalore/backend.h"

qg_status qg_cpu_quantize_int8(qg_backend *be, const float *src, int64_t count, qg_int8_rule rule,
                               qg_int8_store dst);
qg_status qg_cpu_dequantize_int8(qg_backend *be, qg_int8_store src, qg_view dst);
qg_status qg_cpu_quantize_int4(qg_backend *be, const float *src, int64_t count, bool include_zero,
                               qg_int4_store dst);
qg_status qg_cpu_dequantize_int4(qg_backend *be, qg_int4_store src, int64_t count, void *dst, qg_dtype type);
qg_status qg_cpu_update_int8(qg_backend *be, const qg_update_int8_args *args);
qg_status qg_cpu_update_dense(qg_backend *be, const qg_update_dense_args *args);
qg_status qg_cpu_adam(qg_backend *be, const qg_adam_args *args);
qg_status qg_cpu_read_moments(qg_backend *be, const qg_moments_args *args);
qg_status qg_cpu_write_moments(qg_backend *be, const qg_moments_args *args);

#endif
