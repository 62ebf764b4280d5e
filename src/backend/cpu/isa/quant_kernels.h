/* The kernels of the quantised formats for one group or block; src/backend/cpu/quantize.c runs them over a
 * matrix. Every level gives the same bits as the inline definitions of qgalore/numerics and
 * qgalore/numerics/adam.h applied one by one. */
#ifndef QG_BACKEND_CPU_QUANT_KERNELS_H
#define QG_BACKEND_CPU_QUANT_KERNELS_H

#include "backend/cpu/isa.h"
#include "qgalore/backend.h"
#include "qgalore/numerics/adam.h"
#include "qgalore/numerics/dynamic_search.h"

/* A pointer to fp32 or bf16 elements that a kernel writes. */
typedef struct {
  void *data;
  bool bf16;
} qg_out;

/* And one that it reads. */
typedef struct {
  const void *data;
  bool bf16;
} qg_in;

/* 8-bit moments of one block: codes [n], one absmax each. */
typedef struct {
  uint8_t *m_codes, *v_codes;
  float *m_absmax, *v_absmax;
} qg_moment_block;

/* n is at most QG_GROUP but for adam; a group's stores point at its first element (INT4: byte). */
typedef struct {
  void (*quantize_int8)(const float *src, int n, qg_int8_rule rule, qg_int8_store dst);
  void (*dequantize_int8)(qg_int8_store src, int n, qg_out dst);
  void (*quantize_int4)(const float *src, int n, bool include_zero, qg_int4_store dst);
  void (*dequantize_int4)(qg_int4_store src, int n, qg_out dst);
  /* `element` is the matrix element of update[0]. */
  void (*update_int8)(qg_int8_store store, const float *update, int n, float decay, qg_int8_rule rule,
                      qg_rng rng, uint64_t element);
  /* `element` is the matrix element of the group's start, of which [skip, skip + n) are updated. */
  void (*update_dense)(qg_out weights, const float *update, int skip, int n, float decay, bool stochastic,
                       qg_rng rng, uint64_t element);
  void (*adam_f32)(qg_adam_factors factors, qg_in grad, int64_t n, float *m, float *v, qg_out delta);
  void (*adam_8bit)(qg_adam_factors factors, qg_in grad, int64_t n, qg_moment_block moments, qg_out delta);
  /* Moments as mean and variance and back (qg_moments_args): m and v may be mean and variance themselves. */
  void (*moments_to_statistics)(qg_moment_scales scales, const float *m, const float *v, int64_t n,
                                float *mean, float *variance);
  void (*statistics_to_moments)(qg_moment_scales scales, const float *mean, const float *variance, int64_t n,
                                float *m, float *v);
  void (*decode_moments)(qg_moment_block moments, int64_t n, float *m, float *v);
  void (*encode_moments)(const float *m, const float *v, int64_t n, qg_moment_block moments);
} qg_quant_kernels;

QG_ISA_DECLARE(qg_quant_kernels, qg_quant_kernels);

#endif
