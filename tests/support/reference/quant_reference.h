/* Plain scalar loops over the inline definitions of qgalore/numerics and qgalore/numerics/adam.h: what every
 * backend must equal, code for code. Arguments as in qgalore/backend.h, in host memory. */
#ifndef QG_TESTS_QUANT_REFERENCE_H
#define QG_TESTS_QUANT_REFERENCE_H

#include "qgalore/backend.h"

void ref_quantize_int8(const float *src, int64_t count, qg_int8_rule rule, qg_int8_store dst);
void ref_dequantize_int8(qg_int8_store src, int64_t count, float *dst);
void ref_quantize_int4(const float *src, int64_t count, bool include_zero, qg_int4_store dst);
void ref_dequantize_int4(qg_int4_store src, int64_t count, float *dst);
void ref_update_int8(const qg_update_int8_args *args);
void ref_update_dense(const qg_update_dense_args *args);
void ref_adam(const qg_adam_args *args);
void ref_read_moments(const qg_moments_args *args);
void ref_write_moments(const qg_moments_args *args);

/* Number i of a normal distribution with the given spread; the same everywhere. */
float ref_normal(uint64_t i, float spread);

#endif
