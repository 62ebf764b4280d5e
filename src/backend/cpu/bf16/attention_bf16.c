/* Causal attention from products of bf16 panels (Dao et al., arXiv 2205.14135). Queries and keys go in blocks
 * of QG_PANEL, scores in chunks of CHUNK x CHUNK blocks that stay in cache; blocks above the diagonal are
 * never made. A thread works on one head of one sequence. */
#include "backend/cpu/bf16/attention_bf16.h"

#include <math.h>
#include <omp.h>
#include <stdalign.h>
#include <string.h>

#include "backend/cpu/bf16/attention_kernels.h"
#include "backend/cpu/cpu.h"
#include "backend/cpu/panel.h"
#include "qgalore/backend/attention.h"

enum { CHUNK = 4, CHUNK_STEPS = CHUNK * CHUNK * QG_PANEL_STEP_ELEMENTS };

/* Panels of one head of one sequence. "by rows": a panel per block of tokens, its depth the head's size; "by
 * columns": a panel per block of the head's columns, its depth the tokens. */
typedef struct {
  const qg_attention_args *args;
  const qg_panel_kernels *kernels;
  int64_t length, keys, dim;        /* queries and keys of a sequence; as many of both in backward */
  int64_t group;                    /* query heads per kv head */
  int64_t blocks, key_blocks, wide; /* of queries, of keys, and of the head's columns */
  int64_t row_panel, col_panel;     /* elements: by rows; by columns, as deep as there are keys */
  float scale;
  uint16_t *k, *v, *kt;                 /* K and V; K by columns (backward) */
  uint16_t *q, *d_o, *q_cols, *do_cols; /* Q and dO by rows and by columns; forward: one panel of Q */
  uint16_t *p, *ds, *ds_b;              /* a chunk of probabilities and gradients of scores */
  float *d_k, *d_v, *d_qt;              /* sums: [blocks][wide] twice, and [wide][blocks] of dQ transposed */
  float *scores, *out;                  /* forward: a chunk of scores of one block of queries, its output */
  float *lse, *delta;                   /* [blocks * QG_PANEL] */
} head_work;

static size_t thread_bytes(int64_t length, int64_t keys, int64_t dim)
{
  size_t rows = (size_t)qg_panel_steps(length) * QG_PANEL, cols = (size_t)qg_panel_steps(dim) * QG_PANEL;
  size_t key_rows = (size_t)qg_panel_steps(keys) * QG_PANEL;
  size_t panels = (3 * key_rows + 4 * rows) * cols + 3 * CHUNK_STEPS;
  size_t sums = (2 * key_rows + rows) * cols + (size_t)CHUNK * QG_PANEL_SUMS + QG_PANEL * cols + 2 * rows;
  return panels * sizeof(uint16_t) + sums * sizeof(float);
}

size_t qg_attention_bf16_workspace(int threads, int64_t length, int64_t keys, int64_t dim)
{
  return (size_t)threads * thread_bytes(length, keys, dim);
}

/* Every part is a multiple of 64 bytes long. */
static void place(head_work *w, void *memory)
{
  int64_t of_queries = w->blocks * w->row_panel, of_keys = w->key_blocks * w->row_panel;
  uint16_t **keys[] = {&w->k, &w->v, &w->kt};
  uint16_t **queries[] = {&w->q, &w->d_o, &w->q_cols, &w->do_cols};
  uint16_t **chunks[] = {&w->p, &w->ds, &w->ds_b};
  uint16_t *next = memory;
  for (int i = 0; i < QG_COUNT_OF(keys); i++, next += of_keys) *keys[i] = next;
  for (int i = 0; i < QG_COUNT_OF(queries); i++, next += of_queries) *queries[i] = next;
  for (int i = 0; i < QG_COUNT_OF(chunks); i++, next += CHUNK_STEPS) *chunks[i] = next;
  w->d_k = (float *)next;
  w->d_v = w->d_k + of_keys;
  w->d_qt = w->d_v + of_keys;
  w->scores = w->d_qt + of_queries;
  w->out = w->scores + CHUNK * QG_PANEL_SUMS;
  w->lse = w->out + w->wide * QG_PANEL_SUMS;
  w->delta = w->lse + w->blocks * QG_PANEL;
}

static head_work make_work(const qg_attention_args *a, void *memory)
{
  head_work w = {.args = a,
                 .kernels = qg_panels(),
                 .length = a->sequence_length,
                 .keys = qg_attention_keys(a),
                 .dim = a->head_dim,
                 .group = a->heads / a->kv_heads,
                 .blocks = qg_panel_steps(a->sequence_length),
                 .key_blocks = qg_panel_steps(qg_attention_keys(a)),
                 .wide = qg_panel_steps(a->head_dim),
                 .row_panel = qg_panel_elements(a->head_dim),
                 .col_panel = qg_panel_elements(qg_attention_keys(a)),
                 .scale = 1.0f / sqrtf((float)a->head_dim)};
  place(&w, memory);
  return w;
}

/* One head of one sequence, in q and what has its shape, or in k and what has its shape. */
static qg_view query_head(const head_work *w, qg_view all, int64_t sequence, int64_t head)
{
  return qg_view_cols(qg_view_rows(all, sequence * w->length, w->length), head * w->dim, w->dim);
}

static qg_view key_head(const head_work *w, qg_view all, int64_t sequence, int64_t head)
{
  int64_t first = sequence * qg_attention_key_length(w->args);
  return qg_view_cols(qg_view_rows(all, first, w->keys), head * w->dim, w->dim);
}

static void pack_block(const head_work *w, qg_panel_side side, qg_view head, int64_t block, uint16_t *panel)
{
  const uint16_t *data = head.data;
  qg_panel_source from = {data + block * QG_PANEL * head.stride, head.stride, true};
  qg_panel_pack(side, from, head.rows - block * QG_PANEL, w->dim, panel);
}

static void pack_rows(const head_work *w, qg_panel_side side, qg_view head, uint16_t *panels)
{
  int64_t blocks = qg_panel_steps(head.rows);
  for (int64_t i = 0; i < blocks; i++) pack_block(w, side, head, i, panels + i * w->row_panel);
}

static void pack_cols(const head_work *w, qg_panel_side side, qg_view head, uint16_t *panels)
{
  const uint16_t *data = head.data;
  for (int64_t j = 0; j < w->wide; j++) {
    qg_panel_source from = {data + j * QG_PANEL, head.stride, false};
    qg_panel_pack(side, from, w->dim - j * QG_PANEL, head.rows, panels + j * w->col_panel);
  }
}

/* --- forward: softmax over chunks of keys, with running maximum and sum --- */

/* A block of queries against `count` blocks of keys, of which the last ones may be on the diagonal. */
static void forward_chunk(const head_work *w, int64_t query, int64_t key, int64_t count,
                          qg_softmax_state *state)
{
  float rescale[QG_PANEL];
  int64_t visible = w->args->position + (query - key) * QG_PANEL + 1;
  for (int64_t b = 0; b < count; b++)
    w->kernels->multiply(qg_panel_packed(w->q), w->k + (key + b) * w->row_panel, w->wide, false,
                         w->scores + b * QG_PANEL_SUMS);
  qg_softmax_block(state, w->scores, count, visible, w->scale, w->p, rescale);
  if (key > 0) qg_scale_rows(w->out, w->wide, rescale);
  for (int64_t j = 0; j < w->wide; j++)
    w->kernels->multiply(qg_panel_packed(w->p), w->v + j * w->col_panel + key * QG_PANEL_STEP_ELEMENTS, count,
                         key > 0, w->out + j * QG_PANEL_SUMS);
}

static void forward_block(const head_work *w, qg_view q, qg_view o, int64_t query, float *lse)
{
  qg_softmax_state state;
  float row_lse[QG_PANEL], factor[QG_PANEL];
  int64_t rows = qg_min_i64(QG_PANEL, w->length - query * QG_PANEL);
  int64_t blocks = qg_panel_steps(w->args->position + query * QG_PANEL + rows);
  pack_block(w, QG_PANEL_A, q, query, w->q);
  qg_softmax_begin(&state);
  for (int64_t key = 0; key < blocks; key += CHUNK)
    forward_chunk(w, query, key, qg_min_i64(CHUNK, blocks - key), &state);
  qg_softmax_end(&state, row_lse, factor);
  qg_scale_rows(w->out, w->wide, factor);
  for (int64_t j = 0; j < w->wide; j++)
    qg_panel_write(w->out + j * QG_PANEL_SUMS, 1.0f, 0.0f, o, query * QG_PANEL, j * QG_PANEL);
  memcpy(lse + query * QG_PANEL, row_lse, (size_t)rows * sizeof *lse);
}

static void forward_head(const head_work *w, int64_t sequence, int64_t head)
{
  const qg_attention_args *a = w->args;
  qg_view q = query_head(w, a->q, sequence, head), o = query_head(w, a->o, sequence, head);
  pack_rows(w, QG_PANEL_B, key_head(w, a->k, sequence, head / w->group), w->k);
  pack_cols(w, QG_PANEL_B, key_head(w, a->v, sequence, head / w->group), w->v);
  float *lse = a->lse + head * a->q.rows + sequence * w->length;
  for (int64_t query = 0; query < w->blocks; query++) forward_block(w, q, o, query, lse);
}

/* --- backward: S^T = K Q^T, dP^T = V dO^T; dV += P^T dO, dK += dS^T Q, dQ^T += K^T dS^T --- */

/* Step `at` of panel `panel` in a chunk. */
static uint16_t *chunk_step(uint16_t *chunk, int64_t panel, int64_t at)
{
  return chunk + (panel * CHUNK + at) * QG_PANEL_STEP_ELEMENTS;
}

/* A rectangle of blocks: keys key .. key + keys, queries query .. query + queries. */
typedef struct {
  int64_t key, keys, query, queries;
} chunk;

static void backward_scores(const head_work *w, const chunk *c, int64_t i, int64_t j)
{
  alignas(64) float scores[QG_PANEL_SUMS], dp[QG_PANEL_SUMS];
  int64_t key = c->key + i, query = c->query + j;
  w->kernels->multiply(qg_panel_packed(w->k + key * w->row_panel), w->q + query * w->row_panel, w->wide,
                       false, scores);
  w->kernels->multiply(qg_panel_packed(w->v + key * w->row_panel), w->d_o + query * w->row_panel, w->wide,
                       false, dp);
  qg_score_gradient_args args = {.scores = scores,
                                 .dp = dp,
                                 .lse = w->lse + query * QG_PANEL,
                                 .delta = w->delta + query * QG_PANEL,
                                 .scale = w->scale,
                                 .first_query = (key - query) * QG_PANEL,
                                 .p = chunk_step(w->p, i, j),
                                 .ds = chunk_step(w->ds, i, j),
                                 .ds_b = chunk_step(w->ds_b, j, i)};
  qg_score_gradient(&args);
}

/* The queries that see block i of the chunk's keys begin with block `from`. */
static void add_key_gradients(const head_work *w, const chunk *c, int64_t i)
{
  int64_t key = c->key + i, from = qg_max_i64(0, key - c->query), steps = c->queries - from;
  int64_t at = (c->query + from) * QG_PANEL_STEP_ELEMENTS;
  for (int64_t j = 0; steps > 0 && j < w->wide; j++) {
    float *d_v = w->d_v + (key * w->wide + j) * QG_PANEL_SUMS;
    float *d_k = w->d_k + (key * w->wide + j) * QG_PANEL_SUMS;
    w->kernels->multiply(qg_panel_packed(chunk_step(w->p, i, from)), w->do_cols + j * w->col_panel + at,
                         steps, true, d_v);
    w->kernels->multiply(qg_panel_packed(chunk_step(w->ds, i, from)), w->q_cols + j * w->col_panel + at,
                         steps, true, d_k);
  }
}

static void add_query_gradients(const head_work *w, const chunk *c, int64_t j)
{
  int64_t query = c->query + j, steps = qg_min_i64(c->keys, query + 1 - c->key);
  for (int64_t d = 0; d < w->wide; d++)
    w->kernels->multiply(qg_panel_packed(w->kt + d * w->col_panel + c->key * QG_PANEL_STEP_ELEMENTS),
                         chunk_step(w->ds_b, j, 0), steps, true,
                         w->d_qt + (d * w->blocks + query) * QG_PANEL_SUMS);
}

static void backward_chunk(const head_work *w, const chunk *c)
{
  for (int64_t i = 0; i < c->keys; i++)
    for (int64_t j = qg_max_i64(0, c->key + i - c->query); j < c->queries; j++) backward_scores(w, c, i, j);
  for (int64_t i = 0; i < c->keys; i++) add_key_gradients(w, c, i);
  for (int64_t j = 0; j < c->queries; j++) add_query_gradients(w, c, j);
}

static void pack_query_head(const head_work *w, int64_t sequence, int64_t head)
{
  const qg_attention_args *a = w->args;
  qg_view q = query_head(w, a->q, sequence, head), d_o = query_head(w, a->d_o, sequence, head);
  size_t padded = (size_t)(w->blocks * QG_PANEL) * sizeof(float);
  pack_rows(w, QG_PANEL_B, q, w->q);
  pack_rows(w, QG_PANEL_B, d_o, w->d_o);
  pack_cols(w, QG_PANEL_B, q, w->q_cols);
  pack_cols(w, QG_PANEL_B, d_o, w->do_cols);
  memset(w->lse, 0, padded);
  memset(w->delta, 0, padded);
  memcpy(w->lse, a->lse + head * a->q.rows + sequence * w->length, (size_t)w->length * sizeof(float));
  qg_row_dots(d_o, query_head(w, a->o, sequence, head), w->delta);
}

static size_t head_sums(const head_work *w)
{
  return (size_t)(w->blocks * w->wide) * QG_PANEL_SUMS * sizeof(float);
}

static void backward_query_head(const head_work *w, int64_t sequence, int64_t head)
{
  qg_view d_q = query_head(w, w->args->d_q, sequence, head);
  pack_query_head(w, sequence, head);
  memset(w->d_qt, 0, head_sums(w));
  for (int64_t key = 0; key < w->blocks; key += CHUNK)
    for (int64_t query = key; query < w->blocks; query += CHUNK) {
      chunk c = {key, qg_min_i64(CHUNK, w->blocks - key), query, qg_min_i64(CHUNK, w->blocks - query)};
      backward_chunk(w, &c);
    }
  for (int64_t j = 0; j < w->wide; j++)
    for (int64_t query = 0; query < w->blocks; query++)
      qg_panel_write_transposed(w->d_qt + (j * w->blocks + query) * QG_PANEL_SUMS, d_q, query * QG_PANEL,
                                j * QG_PANEL);
}

static void write_key_gradient(const head_work *w, const float *sums, qg_view head)
{
  for (int64_t key = 0; key < w->blocks; key++)
    for (int64_t j = 0; j < w->wide; j++, sums += QG_PANEL_SUMS)
      qg_panel_write(sums, 1.0f, 0.0f, head, key * QG_PANEL, j * QG_PANEL);
}

/* The query heads of a group add to the same keys and values, one after the other. */
static void backward_kv_head(const head_work *w, int64_t sequence, int64_t kv_head)
{
  const qg_attention_args *a = w->args;
  qg_view k = key_head(w, a->k, sequence, kv_head);
  pack_rows(w, QG_PANEL_A, k, w->k);
  pack_cols(w, QG_PANEL_A, k, w->kt);
  pack_rows(w, QG_PANEL_A, key_head(w, a->v, sequence, kv_head), w->v);
  memset(w->d_k, 0, head_sums(w));
  memset(w->d_v, 0, head_sums(w));
  for (int64_t i = 0; i < w->group; i++) backward_query_head(w, sequence, kv_head * w->group + i);
  write_key_gradient(w, w->d_k, key_head(w, a->d_k, sequence, kv_head));
  write_key_gradient(w, w->d_v, key_head(w, a->d_v, sequence, kv_head));
}

typedef void head_pass(const head_work *w, int64_t sequence, int64_t head);

static qg_status over_heads(qg_backend *be, const qg_attention_args *a, int64_t heads, const char *name,
                            head_pass *pass)
{
  size_t bytes = thread_bytes(a->sequence_length, qg_attention_keys(a), a->head_dim);
  int64_t items = a->q.rows / a->sequence_length * heads;
  void *scratch;
  QG_TRY(qg_cpu_scratch(be, (size_t)be->threads * bytes, name, &scratch));
#pragma omp parallel num_threads(be->threads)
  {
    head_work w = make_work(a, (char *)scratch + (size_t)omp_get_thread_num() * bytes);
    w.kernels->begin();
#pragma omp for schedule(static)
    for (int64_t item = 0; item < items; item++) pass(&w, item / heads, item % heads);
    w.kernels->end();
  }
  return QG_OK;
}

qg_status qg_attention_bf16(qg_backend *be, const qg_attention_args *args)
{
  return over_heads(be, args, args->heads, "attention", forward_head);
}

qg_status qg_attention_backward_bf16(qg_backend *be, const qg_attention_args *args)
{
  return over_heads(be, args, args->kv_heads, "attention backward", backward_kv_head);
}
