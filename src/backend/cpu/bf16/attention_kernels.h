/* Attention on panels of bf16: what happens to blocks of scores between their products (panel.h). Scores come
 * transposed in backward, so that probabilities and gradients are operands without a transposition of theirs.
 */
#ifndef QG_BACKEND_CPU_ATTENTION_KERNELS_H
#define QG_BACKEND_CPU_ATTENTION_KERNELS_H

#include "backend/cpu/panel.h"

/* Running softmax of QG_PANEL query rows (Milakov and Gimelshein, arXiv 1805.02867). */
typedef struct {
  float max[QG_PANEL], sum[QG_PANEL];
} qg_softmax_state;

void qg_softmax_begin(qg_softmax_state *state);

/* scores [blocks][32 queries][32 keys] times scale -> A panel p = exp(score - max) of depth 32 blocks. Query
 * i sees the first visible + i keys. `rescale` receives what earlier sums, and outputs, have to be multiplied
 * by. */
void qg_softmax_block(qg_softmax_state *state, const float *scores, int64_t blocks, int64_t visible,
                      float scale, uint16_t *p, float rescale[QG_PANEL]);

/* sums[i][..] *= factor[i] for `blocks` blocks of sums. */
void qg_scale_rows(float *sums, int64_t blocks, const float factor[QG_PANEL]);

/* lse of each row, and 1 / sum into `factor`. */
void qg_softmax_end(const qg_softmax_state *state, float lse[QG_PANEL], float factor[QG_PANEL]);

/* One block of backward, transposed: rows are 32 keys, columns 32 queries.
 *   P = exp(S scale - lse),  dS = P (dP - delta) scale
 * Key j is seen by the queries from first_query + j on; the rest is 0. p and ds are steps of A panels, ds_b
 * the same ds as a step of a B panel. lse and delta are those of the queries. */
typedef struct {
  const float *scores, *dp, *lse, *delta;
  float scale;
  int64_t first_query;
  uint16_t *p, *ds, *ds_b;
} qg_score_gradient_args;

void qg_score_gradient(const qg_score_gradient_args *args);

/* out[i] = a[i] . b[i] for rows of `cols` bf16. */
void qg_row_dots(qg_view a, qg_view b, float *out);

/* c [32 rows, 32 cols] of bf16 = the transpose of sums. */
void qg_panel_write_transposed(const float *sums, qg_view c, int64_t row, int64_t col);

#endif
