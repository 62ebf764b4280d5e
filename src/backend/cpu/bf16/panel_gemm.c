/* GEMM of bf16 operands from packed panels. The threads form a grid over C and share nothing: each packs its
 * own blocks of B into its second-level cache and multiplies them by strips of A, which stay in the
 * first-level cache; strips whose rows already lie along the depth are read in place. The order of every sum
 * depends on the shape alone, so the bits do not depend on the number of threads. */
#include "backend/cpu/bf16/panel_gemm.h"

#include <immintrin.h>

#include "backend/cpu/panel.h"
#include "qgalore/base.h"

enum {
  BLOCK_ELEMENTS = 1 << 19,  /* of B: 1 MiB, half of a core's second-level cache */
  DEPTH_ONCE = 2048,         /* bf16 results of no greater depth come from one block */
  DEPTH_PART = 1024,         /* others, and fp32 results, add up blocks of this depth */
  PART_ROWS = 512,           /* bounds the sums that bf16 results wait in meanwhile */
  STRIP_DEPTH = 256,         /* of A: a strip of 16 KiB stays in the first-level cache together with a panel of B */
  GROUP_ROWS = 4 * QG_PANEL, /* of A, packed together */
  ITEM_PANELS = 32           /* columns that one strip is multiplied by: their sums take 128 KiB */
};

/* One product in progress. */
typedef struct {
  const qg_gemm_args *args;
  const qg_panel_kernels *kernels;
  int grid_rows, grid_cols; /* threads */
  bool waits;               /* bf16 results deeper than a block */
  bool reads_a_in_place;    /* whole panels of A; parts begin at whole lines, so one answer holds for all */
  int64_t depth, block_depth, block_rows, block_cols;
  char *workspace; /* [threads] shares */
} product;

/* A thread's share of the workspace. */
typedef struct {
  float sums[ITEM_PANELS * QG_PANEL_SUMS];
  float waiting[PART_ROWS * (BLOCK_ELEMENTS / DEPTH_PART)]; /* panel by panel, if the product waits */
  uint16_t b[BLOCK_ELEMENTS];                               /* the packed block of B */
  uint16_t a[GROUP_ROWS * DEPTH_ONCE];                      /* panels of A that are not read in place */
} share;

/* Rows of A that are packed together, for the depth of the block. */
typedef struct {
  bool in_place;
  qg_panel_source source;
  const uint16_t *packed;
  int64_t panel; /* elements */
} group;

/* The block in work: rows and columns of C, and the depth. */
typedef struct {
  int64_t row, rows, col, cols, first, depth;
} block;

size_t qg_panel_gemm_workspace(int threads)
{
  return (size_t)threads * sizeof(share);
}

/* Equal blocks of at most `most`. */
static int64_t even_block(int64_t total, int64_t most, int64_t multiple)
{
  int64_t blocks = qg_ceil_div(total, most);
  return qg_ceil_div(qg_ceil_div(total, blocks), multiple) * multiple;
}

/* A tile row is a cache line: reading rows in place is faster where none crosses two. */
static bool is_readable_in_place(qg_panel_source a)
{
  return a.depth_contiguous && ((uintptr_t)a.data | (uintptr_t)(a.stride * 2)) % 64 == 0;
}

/* Time of one thread on its part of C, in products of two panels: to fetch a panel from the memory that all
 * cores share takes about as long as seven of them, to pack it as two more. */
static int64_t cost_of_part(int64_t row_panels, int64_t col_panels, bool in_place)
{
  return row_panels * col_panels + (in_place ? 7 : 9) * row_panels + 9 * col_panels;
}

static void choose_grid(product *p, int threads)
{
  int64_t rows = qg_ceil_div(p->args->c.rows, QG_PANEL), cols = qg_ceil_div(p->args->c.cols, QG_PANEL);
  int64_t least = INT64_MAX;
  for (int r = 1; r <= threads; r++) {
    int64_t cost = cost_of_part(qg_ceil_div(rows, r), qg_ceil_div(cols, threads / r), p->reads_a_in_place);
    if (cost >= least) continue;
    least = cost;
    p->grid_rows = r;
    p->grid_cols = threads / r;
  }
}

/* Operand `view` from element (extent, depth) on. */
static qg_panel_source source_of(qg_view view, bool rows_are_depth, int64_t extent, int64_t depth)
{
  const uint16_t *data = view.data;
  data += rows_are_depth ? depth * view.stride + extent : extent * view.stride + depth;
  return (qg_panel_source){data, view.stride, !rows_are_depth};
}

static product plan(int threads, const qg_gemm_args *args, void *workspace)
{
  product p = {.args = args, .kernels = qg_panels(), .workspace = workspace};
  bool narrow = args->c.type == QG_BF16;
  p.depth = args->trans_a ? args->a.rows : args->a.cols;
  p.waits = narrow && p.depth > DEPTH_ONCE;
  p.block_depth = even_block(p.depth, narrow && !p.waits ? DEPTH_ONCE : DEPTH_PART, QG_PANEL_STEP);
  int64_t depth = p.waits ? DEPTH_PART : p.block_depth;
  p.block_cols = BLOCK_ELEMENTS / depth / QG_PANEL * QG_PANEL;
  if (depth > STRIP_DEPTH) p.block_cols = qg_min_i64(p.block_cols, ITEM_PANELS * QG_PANEL);
  p.block_rows = p.waits ? PART_ROWS : args->c.rows;
  p.reads_a_in_place = is_readable_in_place(source_of(args->a, args->trans_a, 0, 0));
  choose_grid(&p, threads);
  return p;
}

/* Panels side by side, of the block's depth. Where the depth goes down the rows, all of them take their part
 * of a row together, as it lies in memory. */
static void pack_panels(qg_panel_side side, qg_panel_source from, int64_t extent, int64_t depth, uint16_t *to)
{
  int64_t step = from.depth_contiguous ? depth : QG_PANEL_STEP;
  for (int64_t d = 0; d < depth; d += step)
    for (int64_t e = 0; e < extent; e += QG_PANEL) {
      qg_panel_source part = from;
      part.data += from.depth_contiguous ? e * from.stride : d * from.stride + e;
      qg_panel_pack(side, part, extent - e, qg_min_i64(step, depth - d),
                    to + e / QG_PANEL * qg_panel_elements(depth) + qg_panel_elements(d));
    }
}

/* Sums of a panel stay where they are until the depth is done: one place serves all where that is one strip.
 */
static float *sums_of(const product *p, const block *blk, share *own, int64_t row, int64_t col)
{
  int64_t panels = qg_ceil_div(blk->cols, QG_PANEL), panel = col / QG_PANEL;
  if (p->waits) return own->waiting + (row / QG_PANEL * panels + panel) * QG_PANEL_SUMS;
  return blk->depth > STRIP_DEPTH ? own->sums + panel * QG_PANEL_SUMS : own->sums;
}

/* Parts of the depth meet in `waiting`, or in C itself if that is as wide as the sums. */
static void write_sums(const product *p, const block *blk, int64_t row, int64_t col, const float *sums)
{
  if (p->waits && blk->first + blk->depth < p->depth) return;
  float beta = !p->waits && blk->first > 0 ? 1.0f : p->args->beta;
  qg_panel_write(sums, p->args->alpha, beta, p->args->c, blk->row + row, blk->col + col);
}

/* Panel `row` of a group of A: from element (row, first) on. */
static qg_panel_rows strip_of(const group *g, int64_t row, int64_t first)
{
  if (!g->in_place) return qg_panel_packed(g->packed + row / QG_PANEL * g->panel + qg_panel_elements(first));
  qg_panel_source from = g->source;
  from.data += row * from.stride + first;
  return qg_panel_in_place(from);
}

static group take_group(const product *p, const block *blk, share *own, int64_t row, int64_t rows)
{
  group g = {.packed = own->a,
             .panel = qg_panel_elements(blk->depth),
             .source = source_of(p->args->a, p->args->trans_a, blk->row + row, blk->first)};
  g.in_place = rows % QG_PANEL == 0 && blk->depth % QG_PANEL_STEP == 0 && p->reads_a_in_place;
  if (!g.in_place) pack_panels(QG_PANEL_A, g.source, rows, blk->depth, own->a);
  return g;
}

/* Row `row` of the block by all its columns, over a part of the depth. */
static void multiply_strip(const product *p, const block *blk, share *own, int64_t row, qg_panel_rows a,
                           int64_t first)
{
  int64_t depth = qg_min_i64(STRIP_DEPTH, blk->depth - first);
  bool accumulate = first > 0 || (p->waits && blk->first > 0), last = first + depth == blk->depth;
  const uint16_t *b = own->b + qg_panel_elements(first);
  for (int64_t col = 0; col < blk->cols; col += QG_PANEL, b += qg_panel_elements(blk->depth)) {
    float *sums = sums_of(p, blk, own, row, col);
    p->kernels->multiply(a, b, qg_panel_steps(depth), accumulate, sums);
    if (last) write_sums(p, blk, row, col, sums);
  }
}

static void multiply_group(const product *p, const block *blk, share *own, int64_t first_row, int64_t rows)
{
  const group g = take_group(p, blk, own, first_row, rows);
  for (int64_t row = 0; row < rows; row += QG_PANEL)
    for (int64_t first = 0; first < blk->depth; first += STRIP_DEPTH)
      multiply_strip(p, blk, own, first_row + row, strip_of(&g, row, first), first);
}

static void multiply_block(const product *p, const block *blk, share *own)
{
  qg_panel_source b = source_of(p->args->b, !p->args->trans_b, blk->col, blk->first);
  pack_panels(QG_PANEL_B, b, blk->cols, blk->depth, own->b);
  for (int64_t row = 0; row < blk->rows; row += GROUP_ROWS)
    multiply_group(p, blk, own, row, qg_min_i64(GROUP_ROWS, blk->rows - row));
}

/* Part `index` of `parts` of an extent, in whole panels. */
static void part_of(int64_t extent, int parts, int index, int64_t *first, int64_t *end)
{
  int64_t panels = qg_ceil_div(extent, QG_PANEL);
  *first = qg_min_i64(extent, panels * index / parts * QG_PANEL);
  *end = qg_min_i64(extent, panels * (index + 1) / parts * QG_PANEL);
}

static void multiply_part(const product *p, int part)
{
  share *own = (share *)p->workspace + part;
  int64_t row, last_row, col, last_col;
  part_of(p->args->c.rows, p->grid_rows, part / p->grid_cols, &row, &last_row);
  part_of(p->args->c.cols, p->grid_cols, part % p->grid_cols, &col, &last_col);
  if (row == last_row || col == last_col) return;
  int64_t cols = even_block(last_col - col, p->block_cols, QG_PANEL);
  p->kernels->begin();
  for (block blk = {.col = col}; blk.col < last_col; blk.col += cols)
    for (blk.row = row; blk.row < last_row; blk.row += p->block_rows)
      for (blk.first = 0; blk.first < p->depth; blk.first += p->block_depth) {
        blk.cols = qg_min_i64(cols, last_col - blk.col);
        blk.rows = qg_min_i64(p->block_rows, last_row - blk.row);
        blk.depth = qg_min_i64(p->block_depth, p->depth - blk.first);
        multiply_block(p, &blk, own);
      }
  p->kernels->end();
  _mm_sfence(); /* stores that bypassed the caches */
}

void qg_panel_gemm(int threads, void *workspace, const qg_gemm_args *args)
{
  const product p = plan(threads, args, workspace);
  int parts = p.grid_rows * p.grid_cols;
#pragma omp parallel for schedule(static, 1) num_threads(parts)
  for (int part = 0; part < parts; part++) multiply_part(&p, part);
}
