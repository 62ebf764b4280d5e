/* Row kernels of the CPU backend: one call works on one row (or one run of elements) and is single-threaded;
 * the operations spread rows over threads. One table per instruction set and element type (isa.h). */
#ifndef QG_BACKEND_CPU_ROW_KERNELS_H
#define QG_BACKEND_CPU_ROW_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/cpu/isa.h"

enum { QG_LOSS_CHUNK = 2048 }; /* logits between which a maximum is kept: 8 KiB */

/* Exponentials of a row, and a maximum per chunk. */
static inline int64_t qg_loss_scratch_floats(int64_t vocab)
{
  return vocab + (vocab + QG_LOSS_CHUNK - 1) / QG_LOSS_CHUNK;
}

/* Pointers are to rows of the table's element type unless they are float *. The formulas are in
 * qgalore/backend.h. */
typedef struct {
  float (*rmsnorm)(const void *x, const void *add, void *sum, const void *weight, void *y, int64_t cols,
                   float eps); /* rstd */
  void (*rmsnorm_backward)(const void *x, const void *weight, const void *dy, void *dx, float rstd,
                           float *dweight, int64_t cols, bool accumulate);
  /* cos and sin of the row's position; those of the next head lie head_stride further. */
  void (*rope)(void *x, const float *cos, const float *sin, int64_t head_stride, int64_t heads,
               int64_t head_dim, float sign);
  void (*swiglu)(const void *gate, const void *up, void *out, int64_t count);
  void (*swiglu_backward)(const void *gate, const void *up, const void *d_out, void *d_gate, void *d_up,
                          void *out, int64_t count);
  void (*to_float)(const void *src, float *dst, int64_t count);
  void (*from_float)(const float *src, void *dst, int64_t count);
  void (*add_to_float)(float alpha, const void *src, float *dst, int64_t count); /* dst += alpha * src */
  void (*add_from_float)(float alpha, const float *src, void *dst, int64_t count);
  void (*add)(float alpha, const void *src, void *dst, int64_t count);
  double (*sum_squares)(const void *src, int64_t count);
  float (*largest)(const void *src, int64_t count); /* magnitude; NaN counts as nothing */
  /* logits f32 -> gradient; returns the row's loss. target < 0: zero gradient, zero loss. d_logits may be
   * NULL. scratch: qg_loss_scratch_floats. */
  double (*cross_entropy)(const float *logits, void *d_logits, int64_t vocab, int32_t target, float scale,
                          float *scratch);
} qg_row_kernels;

/* Attention helpers on f32 tiles. */
typedef struct {
  /* row[0 .. count) *= scale; returns the largest. */
  float (*scale_max)(float *row, int64_t count, float scale);
  /* row = exp(row - shift); returns the sum. */
  float (*exp_sum)(float *row, int64_t count, float shift);
  void (*scale)(float *row, int64_t count, float factor);
  /* p = p * (dp - delta) * scale: the gradient of the scores. */
  void (*score_gradient)(float *p, const float *dp, int64_t count, float delta, float scale);
  float (*dot)(const float *a, const float *b, int64_t count);
} qg_tile_kernels;

QG_ISA_DECLARE(qg_row_kernels, qg_rows_f32);
QG_ISA_DECLARE(qg_row_kernels, qg_rows_bf16);
QG_ISA_DECLARE(qg_tile_kernels, qg_tiles);

#endif
