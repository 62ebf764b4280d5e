/* Products of packed bf16 panels with fp32 sums: what GEMM and attention are made of on processors that
 * multiply bf16 (AVX512-BF16, AMX).
 *
 * C [32, 32] (+)= A [32, depth] B [depth, 32]. Depth goes in steps of 32, the last one padded with zeros. Per
 * step each operand holds two AMX tiles of 16 rows of 64 bytes: A: tile h row i = A[16 h + i, 32 s .. 32 s +
 * 31] B: tile h row r = the pairs (B[32 s + 2 r, j], B[32 s + 2 r + 1, j]) of columns j = 16 h .. 16 h + 15
 * so a panel is contiguous, [steps][2][16][32] elements. A may also lie in place, with a stride. C is
 * contiguous, [32][32] floats. */
#ifndef QG_BACKEND_CPU_PANEL_H
#define QG_BACKEND_CPU_PANEL_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/base.h"
#include "qgalore/base/view.h"

enum {
  QG_PANEL = 32,      /* rows of A, columns of B */
  QG_PANEL_STEP = 32, /* depth that is multiplied at once */
  QG_PANEL_STEP_ELEMENTS = QG_PANEL * QG_PANEL_STEP,
  QG_PANEL_SUMS = QG_PANEL * QG_PANEL /* floats of C */
};

typedef enum { QG_PANEL_A, QG_PANEL_B } qg_panel_side;

/* A bf16 matrix in memory, as an operand: `extent` are rows of A or columns of B. */
typedef struct {
  const uint16_t *data;
  int64_t stride;
  bool depth_contiguous; /* element (e, d) lies at data[e * stride + d], else at data[d * stride + e] */
} qg_panel_source;

/* A as an operand: row i of step s begins at data[s * step + i * stride]. */
typedef struct {
  const uint16_t *data;
  int64_t stride, step;
} qg_panel_rows;

typedef struct {
  /* A thread brackets its products with these (AMX has to be configured, and released for the system's sake).
   */
  void (*begin)(void);
  void (*end)(void);
  void (*multiply)(qg_panel_rows a, const uint16_t *b, int64_t steps, bool accumulate, float *c);
} qg_panel_kernels;

/* The kernels of the instruction set in use, or NULL if it has no product of bf16. */
const qg_panel_kernels *qg_panels(void);

static inline int64_t qg_panel_steps(int64_t depth)
{
  return qg_ceil_div(depth, QG_PANEL_STEP);
}

static inline int64_t qg_panel_elements(int64_t depth)
{
  return qg_panel_steps(depth) * QG_PANEL_STEP_ELEMENTS;
}

static inline qg_panel_rows qg_panel_packed(const uint16_t *panel)
{
  return (qg_panel_rows){panel, QG_PANEL_STEP, QG_PANEL_STEP_ELEMENTS};
}

/* 32 whole rows, depth contiguous and a multiple of QG_PANEL_STEP. */
static inline qg_panel_rows qg_panel_in_place(qg_panel_source source)
{
  return (qg_panel_rows){source.data, source.stride, QG_PANEL_STEP};
}

/* What follows may be called only where qg_panels() is not NULL. */

/* One panel of at most QG_PANEL rows or columns; what is missing becomes zero. */
void qg_panel_pack(qg_panel_side side, qg_panel_source source, int64_t extent, int64_t depth,
                   uint16_t *panel);
/* The corner of C at `row`, `col` = alpha sums + beta C, in C's type; sums that lie outside are dropped. A
 * large C may bypass the caches: _mm_sfence() before another thread reads it. */
void qg_panel_write(const float *sums, float alpha, float beta, qg_view c, int64_t row, int64_t col);

#endif
