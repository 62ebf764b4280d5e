/* GEMM of bf16 operands from packed panels. A block of B is packed once and shared by all threads; each
 * thread packs strips of A and multiplies them by the panels of the block. The order of every sum depends on
 * the shape alone, so the bits do not depend on the number of threads. */
#include "backend/cpu/bf16/panel_gemm.h"

#include <omp.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/panel.h"
#include "qgalore/base.h"

enum {
  BLOCK_ELEMENTS = 1 << 19, /* of B: 1 MiB, half of a core's second-level cache */
  DEPTH_ONCE = 2048,        /* bf16 results of no greater depth come from one block */
  DEPTH_PART = 1024,        /* others, and fp32 results, add up blocks of this depth */
  PART_ROWS = 1024,         /* bounds the sums that bf16 results wait in meanwhile */
  STRIP_DEPTH = 256,        /* of A: a strip of 16 KiB stays in the first-level cache */
  ITEM_PANELS = 32,         /* columns that one strip is multiplied by: their sums take 128 KiB */
  ITEMS_PER_THREAD = 4      /* so that threads finish together */
};

/* One product in progress. */
typedef struct {
  const qg_gemm_args *args;
  const qg_panel_kernels *kernels;
  int threads;
  bool waits; /* bf16 results deeper than a block */
  int64_t depth, block_depth, block_rows, block_cols;
  uint16_t *b;      /* the packed block of B */
  uint16_t *strips; /* [threads] of A */
  float *sums;      /* [threads][ITEM_PANELS] of C */
  float *waiting;   /* [PART_ROWS][columns of a block], panel by panel, if `waits` */
} product;

/* The block in work: rows and columns of C, and the depth. */
typedef struct {
  int64_t row, rows, col, cols, first, depth;
} block;

enum {
  STRIP_ELEMENTS = QG_PANEL * STRIP_DEPTH,
  ITEM_SUMS = ITEM_PANELS * QG_PANEL_SUMS,
  WAITING_SUMS = PART_ROWS * (BLOCK_ELEMENTS / DEPTH_PART)
};

size_t qg_panel_gemm_workspace(int threads)
{
  size_t packed = (BLOCK_ELEMENTS + (size_t)threads * STRIP_ELEMENTS) * sizeof(uint16_t);
  return packed + (WAITING_SUMS + (size_t)threads * ITEM_SUMS) * sizeof(float);
}

/* Equal blocks of at most `most`. */
static int64_t even_block(int64_t total, int64_t most, int64_t multiple)
{
  int64_t blocks = qg_ceil_div(total, most);
  return qg_ceil_div(qg_ceil_div(total, blocks), multiple) * multiple;
}

static product plan(qg_backend *be, const qg_gemm_args *args, void *scratch)
{
  product p = {.args = args, .kernels = qg_panels(), .threads = be->threads, .b = scratch};
  bool narrow = args->c.type == QG_BF16;
  p.depth = args->trans_a ? args->a.rows : args->a.cols;
  p.waits = narrow && p.depth > DEPTH_ONCE;
  p.block_depth = even_block(p.depth, narrow && !p.waits ? DEPTH_ONCE : DEPTH_PART, QG_PANEL_STEP);
  int64_t depth = p.waits ? DEPTH_PART : p.block_depth;
  p.block_cols = even_block(args->c.cols, BLOCK_ELEMENTS / depth / QG_PANEL * QG_PANEL, QG_PANEL);
  p.block_rows = p.waits ? PART_ROWS : args->c.rows;
  p.strips = p.b + BLOCK_ELEMENTS;
  p.sums = (float *)(p.strips + (size_t)be->threads * STRIP_ELEMENTS);
  p.waiting = p.sums + (size_t)be->threads * ITEM_SUMS;
  return p;
}

/* Operand `view` from element (extent, depth) on. */
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
    qg_panel_source from = source_of(p->args->b, !p->args->trans_b, blk->col + j, blk->first);
    qg_panel_pack(QG_PANEL_B, from, blk->cols - j, blk->depth,
                  p->b + j / QG_PANEL * qg_panel_elements(blk->depth));
  }
}

/* A row panel of the block by some of its columns; sums of col begin at sums[0]. */
typedef struct {
  int64_t row, col, last_col;
  float *sums;
} item;

static float *sums_of(const product *p, const block *blk, int64_t row, int64_t col)
{
  int64_t panels = qg_ceil_div(blk->cols, QG_PANEL), panel = row / QG_PANEL * panels + col / QG_PANEL;
  return p->waits ? p->waiting + panel * QG_PANEL_SUMS : p->sums + (size_t)omp_get_thread_num() * ITEM_SUMS;
}

/* Parts of the depth meet in `waiting`, or in C itself if that is as wide as the sums. */
static void write_sums(const product *p, const block *blk, int64_t row, int64_t col, const float *sums)
{
  if (p->waits && blk->first + blk->depth < p->depth) return;
  float beta = !p->waits && blk->first > 0 ? 1.0f : p->args->beta;
  qg_panel_write(sums, p->args->alpha, beta, p->args->c, blk->row + row, blk->col + col);
}

static void multiply_strip(const product *p, const block *blk, const item *it, int64_t first, int64_t depth)
{
  bool accumulate = first > 0 || (p->waits && blk->first > 0), last = first + depth == blk->depth;
  uint16_t *strip = p->strips + (size_t)omp_get_thread_num() * STRIP_ELEMENTS;
  qg_panel_source from = source_of(p->args->a, p->args->trans_a, blk->row + it->row, blk->first + first);
  qg_panel_pack(QG_PANEL_A, from, blk->rows - it->row, depth, strip);
  for (int64_t col = it->col; col < it->last_col; col += QG_PANEL) {
    const uint16_t *b = p->b + col / QG_PANEL * qg_panel_elements(blk->depth) + qg_panel_elements(first);
    float *sums = it->sums + (col - it->col) / QG_PANEL * QG_PANEL_SUMS;
    p->kernels->multiply(strip, b, qg_panel_steps(depth), accumulate, sums);
    if (last) write_sums(p, blk, it->row, col, sums);
  }
}

static void multiply_item(const product *p, const block *blk, item it)
{
  it.sums = sums_of(p, blk, it.row, it.col);
  for (int64_t first = 0; first < blk->depth; first += STRIP_DEPTH)
    multiply_strip(p, blk, &it, first, qg_min_i64(STRIP_DEPTH, blk->depth - first));
}

static void multiply_block(const product *p, const block *blk)
{
  int64_t row_panels = qg_ceil_div(blk->rows, QG_PANEL), col_panels = qg_ceil_div(blk->cols, QG_PANEL);
  int64_t balanced = qg_min_i64(col_panels, qg_ceil_div(ITEMS_PER_THREAD * p->threads, row_panels));
  int64_t shares = qg_max_i64(balanced, qg_ceil_div(col_panels, ITEM_PANELS));
  int64_t width = qg_ceil_div(col_panels, shares) * QG_PANEL;
#pragma omp for schedule(static) collapse(2)
  for (int64_t i = 0; i < row_panels; i++)
    for (int64_t j = 0; j < shares; j++)
      multiply_item(p, blk, (item){i * QG_PANEL, j * width, qg_min_i64(blk->cols, (j + 1) * width), NULL});
}

static void multiply_column(const product *p, block blk)
{
  for (blk.first = 0; blk.first < p->depth; blk.first += p->block_depth) {
    blk.depth = qg_min_i64(p->block_depth, p->depth - blk.first);
    pack_b(p, &blk);
    multiply_block(p, &blk);
  }
}

qg_status qg_panel_gemm(qg_backend *be, const qg_gemm_args *args)
{
  void *scratch;
  QG_TRY(qg_cpu_scratch(be, qg_panel_gemm_workspace(be->threads), "GEMM", &scratch));
  const product p = plan(be, args, scratch);
#pragma omp parallel num_threads(be->threads)
  {
    p.kernels->begin();
    for (int64_t col = 0; col < args->c.cols; col += p.block_cols)
      for (int64_t row = 0; row < args->c.rows; row += p.block_rows)
        multiply_column(&p, (block){.row = row,
                                    .rows = qg_min_i64(p.block_rows, args->c.rows - row),
                                    .col = col,
                                    .cols = qg_min_i64(p.block_cols, args->c.cols - col)});
    p.kernels->end();
  }
  return QG_OK;
}
