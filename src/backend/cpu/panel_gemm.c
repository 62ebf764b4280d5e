/* GEMM of bf16 operands from packed panels. A block of B is packed once and shared by all threads; each thread
 * packs one panel of A and multiplies it by the panels of the block. The order of every sum depends on the shape
 * alone, so the bits do not depend on the number of threads. */
#include "backend/cpu/panel_gemm.h"

#include <omp.h>
#include <stdalign.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/panel.h"
#include "qgalore/base.h"

enum {
  BLOCK_ROWS = 2048,               /* bounds the sums of products deeper than a block */
  BLOCK_DEPTH = 2048,              /* bounds a thread's panel of A, 128 KiB */
  BLOCK_ELEMENTS = 3 * (1 << 18),  /* of B: 1.5 MiB, what a core's second-level cache can hold */
  DEEP_COLUMNS = BLOCK_ELEMENTS / BLOCK_DEPTH,
  ITEMS_PER_THREAD = 4             /* so that threads finish together */
};

/* One product in progress. Depth is cut into equal blocks, and so is the width. */
typedef struct {
  const qg_gemm_args *args;
  const qg_panel_kernels *kernels;
  int threads;
  int64_t depth, block_depth, block_cols;
  uint16_t *b;    /* the packed block of B */
  uint16_t *a;    /* [threads] panels of A */
  float *sums;    /* of a block of C, only for products deeper than a block */
} product;

/* The block in work. */
typedef struct {
  int64_t row, rows, col, cols, depth_first, depth;
} block;

static int64_t even_block(int64_t total, int64_t most, int64_t multiple)
{
  int64_t blocks = qg_ceil_div(total, most);
  return qg_ceil_div(qg_ceil_div(total, blocks), multiple) * multiple;
}

static size_t a_elements(void)
{
  return QG_PANEL * (size_t)BLOCK_DEPTH;
}

size_t qg_panel_gemm_workspace(int threads)
{
  size_t packed = (BLOCK_ELEMENTS + (size_t)threads * a_elements()) * sizeof(uint16_t);
  return packed + (size_t)BLOCK_ROWS * DEEP_COLUMNS * sizeof(float);
}

static product plan(qg_backend *be, const qg_gemm_args *args, void *scratch)
{
  product p = {.args = args, .kernels = qg_panels(), .threads = be->threads, .b = scratch};
  p.depth = args->trans_a ? args->a.rows : args->a.cols;
  p.block_depth = even_block(p.depth, BLOCK_DEPTH, QG_PANEL_STEP);
  bool deep = p.depth > p.block_depth;
  int64_t most_cols = deep ? DEEP_COLUMNS : BLOCK_ELEMENTS / p.block_depth / QG_PANEL * QG_PANEL;
  p.block_cols = even_block(args->c.cols, most_cols, QG_PANEL);
  p.a = p.b + BLOCK_ELEMENTS;
  p.sums = (float *)(p.a + (size_t)be->threads * a_elements());
  return p;
}

/* Operand `view` from element (extent, depth) on; `rows_are_depth`: depth runs down its rows. */
static qg_panel_source source_of(qg_view view, bool rows_are_depth, int64_t extent, int64_t depth)
{
  const uint16_t *data = view.data;
  data += rows_are_depth ? depth * view.stride + extent : extent * view.stride + depth;
  return (qg_panel_source){data, view.stride, !rows_are_depth};
}

static void pack_b(const product *p, const block *blk)
{
#pragma omp for schedule(static)
  for (int64_t j = 0; j < blk->cols; j += QG_PANEL) {
    qg_panel_source from = source_of(p->args->b, !p->args->trans_b, blk->col + j, blk->depth_first);
    qg_panel_pack(QG_PANEL_B, from, blk->cols - j, blk->depth,
                  p->b + j / QG_PANEL * qg_panel_elements(blk->depth));
  }
}

/* Sums wait in memory between blocks of the depth; the last one writes C. */
static void multiply_panel(const product *p, const block *blk, int64_t row, int64_t col, const uint16_t *a)
{
  alignas(64) float local[QG_PANEL_SUMS];
  bool deep = p->depth > p->block_depth, last = blk->depth_first + blk->depth == p->depth;
  int64_t panels = qg_ceil_div(blk->cols, QG_PANEL);
  float *sums = deep ? p->sums + (row / QG_PANEL * panels + col / QG_PANEL) * QG_PANEL_SUMS : local;
  const uint16_t *b = p->b + col / QG_PANEL * qg_panel_elements(blk->depth);
  p->kernels->multiply(a, b, qg_panel_steps(blk->depth), blk->depth_first > 0, sums);
  if (last)
    qg_panel_write(sums, p->args->alpha, p->args->beta, p->args->c, blk->row + row, blk->col + col);
}

/* A panel of A by a share of the block's columns. */
static void multiply_item(const product *p, const block *blk, int64_t row, int64_t col, int64_t last_col)
{
  uint16_t *a = p->a + (size_t)omp_get_thread_num() * a_elements();
  qg_panel_source from = source_of(p->args->a, p->args->trans_a, blk->row + row, blk->depth_first);
  qg_panel_pack(QG_PANEL_A, from, blk->rows - row, blk->depth, a);
  for (; col < last_col; col += QG_PANEL) multiply_panel(p, blk, row, col, a);
}

static void multiply_block(const product *p, const block *blk)
{
  int64_t row_panels = qg_ceil_div(blk->rows, QG_PANEL), col_panels = qg_ceil_div(blk->cols, QG_PANEL);
  int64_t shares = qg_min_i64(col_panels, qg_ceil_div(ITEMS_PER_THREAD * p->threads, row_panels));
  int64_t width = qg_ceil_div(col_panels, shares) * QG_PANEL;
#pragma omp for schedule(static) collapse(2)
  for (int64_t i = 0; i < row_panels; i++)
    for (int64_t j = 0; j < shares; j++)
      multiply_item(p, blk, i * QG_PANEL, j * width, qg_min_i64(blk->cols, (j + 1) * width));
}

static void multiply_column(const product *p, block blk)
{
  for (blk.depth_first = 0; blk.depth_first < p->depth; blk.depth_first += p->block_depth) {
    blk.depth = qg_min_i64(p->block_depth, p->depth - blk.depth_first);
    pack_b(p, &blk);
    multiply_block(p, &blk);
  }
}

qg_status qg_panel_gemm(qg_backend *be, const qg_gemm_args *args)
{
  void *scratch;
  QG_TRY(qg_cpu_scratch(be, qg_panel_gemm_workspace(be->threads), "GEMM", &scratch));
  const product p = plan(be, args, scratch);
  int64_t most_rows = p.depth > p.block_depth ? BLOCK_ROWS : args->c.rows;
#pragma omp parallel num_threads(be->threads)
  {
    p.kernels->begin();
    for (int64_t col = 0; col < args->c.cols; col += p.block_cols)
      for (int64_t row = 0; row < args->c.rows; row += most_rows)
        multiply_column(&p, (block){.row = row,
                                    .rows = qg_min_i64(most_rows, args->c.rows - row),
                                    .col = col,
                                    .cols = qg_min_i64(p.block_cols, args->c.cols - col)});
    p.kernels->end();
  }
  return QG_OK;
}
