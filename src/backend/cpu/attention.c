/* Causal attention in blocks of query rows (Dao et al., arXiv 2205.14135, with whole rows of keys): a thread
 * holds the scores of QUERY_ROWS queries at a time, in fp32. For fp32, and for processors without products
 * of bf16. */
#include "backend/cpu/attention.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "backend/cpu/bf16/attention_bf16.h"
#include "backend/cpu/cpu.h"
#include "backend/cpu/panel.h"
#include "qgalore/backend/attention.h"
#include "qgalore/base.h"

enum { QUERY_ROWS = 64 };

typedef struct {
  const qg_attention_args *args;
  int64_t length, keys, dim; /* queries and keys of a sequence */
  int64_t group;             /* query heads per kv head */
  float scale;
  /* fp32 copies of one head of one sequence, [length, dim], and [keys, dim] of k, v and their gradients */
  float *q, *k, *v, *o, *d_o, *d_q, *d_k, *d_v;
  float *scores, *d_scores; /* [QUERY_ROWS, keys] */
} tile;

static size_t tile_floats(int64_t length, int64_t keys, int64_t dim)
{
  return (size_t)(4 * length * dim + 4 * keys * dim + 2 * QUERY_ROWS * keys + 16);
}

size_t qg_cpu_attention_workspace(qg_backend *be, const qg_workload *w)
{
  int64_t dim = w->hidden_size / w->num_heads, length = w->sequence_length, keys = qg_workload_key_length(w);
  if (qg_cpu_of(be)->panels) return qg_attention_bf16_workspace(be->threads, length, keys, dim);
  return (size_t)be->threads * tile_floats(length, keys, dim) * sizeof(float);
}

static tile make_tile(const qg_attention_args *a, float *memory)
{
  int64_t keys = qg_attention_keys(a);
  int64_t of_queries = a->sequence_length * a->head_dim, of_keys = keys * a->head_dim;
  tile t = {.args = a,
            .length = a->sequence_length,
            .keys = keys,
            .dim = a->head_dim,
            .group = a->heads / a->kv_heads,
            .scale = 1.0f / sqrtf((float)a->head_dim)};
  t.q = memory;
  t.k = t.q + of_queries;
  t.v = t.k + of_keys;
  t.o = t.v + of_keys;
  t.d_o = t.o + of_queries;
  t.d_q = t.d_o + of_queries;
  t.d_k = t.d_q + of_queries;
  t.d_v = t.d_k + of_keys;
  t.scores = t.d_v + of_keys;
  t.d_scores = t.scores + QUERY_ROWS * keys;
  return t;
}

/* One head of one sequence, in q and what has its shape, or in k and what has its shape. */
static qg_view query_head(const tile *t, qg_view all, int64_t sequence, int64_t head)
{
  return qg_view_cols(qg_view_rows(all, sequence * t->length, t->length), head * t->dim, t->dim);
}

static qg_view key_head(const tile *t, qg_view all, int64_t sequence, int64_t head)
{
  int64_t first = sequence * qg_attention_key_length(t->args);
  return qg_view_cols(qg_view_rows(all, first, t->keys), head * t->dim, t->dim);
}

static void load(qg_view from, float *to)
{
  const qg_row_kernels *kernels = qg_cpu_rows(from.type);
  for (int64_t i = 0; i < from.rows; i++) kernels->to_float(qg_row(from, i), to + i * from.cols, from.cols);
}

static void store(const float *from, qg_view to)
{
  const qg_row_kernels *kernels = qg_cpu_rows(to.type);
  for (int64_t i = 0; i < to.rows; i++) kernels->from_float(from + i * to.cols, qg_row(to, i), to.cols);
}

static void multiply(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                     const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
  cblas_sgemm(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans, (int)m,
              (int)n, (int)k, 1.0f, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

/* The keys that the first `count` queries may see. */
static int64_t visible_to(const tile *t, int64_t count)
{
  return t->args->position + count;
}

/* Scores of query rows first .. first + count against the keys that any of them may see. */
static void score_block(const tile *t, int64_t first, int64_t count)
{
  multiply(false, true, count, visible_to(t, first + count), t->dim, t->q + first * t->dim, t->dim, t->k,
           t->dim, 0.0f, t->scores, t->keys);
}

static void forward_block(const tile *t, int64_t first, int64_t count, float *lse)
{
  const qg_tile_kernels *kernels = qg_cpu_tiles();
  int64_t keys = visible_to(t, first + count);
  score_block(t, first, count);
  for (int64_t i = 0; i < count; i++) {
    float *row = t->scores + i * t->keys;
    int64_t visible = visible_to(t, first + i + 1);
    float max = kernels->scale_max(row, visible, t->scale);
    float sum = kernels->exp_sum(row, visible, max);
    kernels->scale(row, visible, 1.0f / sum);
    memset(row + visible, 0, (size_t)(keys - visible) * sizeof(float));
    lse[first + i] = max + logf(sum);
  }
  multiply(false, false, count, t->dim, keys, t->scores, t->keys, t->v, t->dim, 0.0f, t->o + first * t->dim,
           t->dim);
}

static void forward_head(const tile *t, int64_t sequence, int64_t head)
{
  const qg_attention_args *a = t->args;
  load(query_head(t, a->q, sequence, head), t->q);
  load(key_head(t, a->k, sequence, head / t->group), t->k);
  load(key_head(t, a->v, sequence, head / t->group), t->v);
  float *lse = a->lse + head * a->q.rows + sequence * t->length;
  for (int64_t first = 0; first < t->length; first += QUERY_ROWS)
    forward_block(t, first, qg_min_i64(QUERY_ROWS, t->length - first), lse);
  store(t->o, query_head(t, a->o, sequence, head));
}

qg_status qg_cpu_attention(qg_backend *be, const qg_attention_args *a)
{
  QG_TRY(qg_attention_check(a));
  if (qg_cpu_of(be)->panels) return qg_attention_bf16(be, a);
  size_t floats = tile_floats(a->sequence_length, qg_attention_keys(a), a->head_dim);
  void *scratch;
  QG_TRY(qg_cpu_scratch(be, (size_t)be->threads * floats * sizeof(float), "attention", &scratch));
  int64_t items = a->q.rows / a->sequence_length * a->heads;
#pragma omp parallel num_threads(be->threads)
  {
    tile t = make_tile(a, (float *)scratch + (size_t)omp_get_thread_num() * floats);
#pragma omp for schedule(static)
    for (int64_t item = 0; item < items; item++) forward_head(&t, item / a->heads, item % a->heads);
  }
  return QG_OK;
}

/* P = exp(S - lse), dP = dO V^T, dS = P (dP - dO . O) / sqrt(d); dQ = dS K, dK += dS^T Q, dV += P^T dO. */
static void backward_block(const tile *t, int64_t first, int64_t count, const float *lse)
{
  const qg_tile_kernels *kernels = qg_cpu_tiles();
  int64_t keys = visible_to(t, first + count);
  const float *q = t->q + first * t->dim, *d_o = t->d_o + first * t->dim;
  score_block(t, first, count);
  multiply(false, true, count, keys, t->dim, d_o, t->dim, t->v, t->dim, 0.0f, t->d_scores, t->keys);
  for (int64_t i = 0; i < count; i++) {
    float *row = t->scores + i * t->keys;
    int64_t visible = visible_to(t, first + i + 1);
    kernels->scale(row, visible, t->scale);
    kernels->exp_sum(row, visible, lse[first + i]);
    memset(row + visible, 0, (size_t)(keys - visible) * sizeof(float));
  }
  multiply(true, false, keys, t->dim, count, t->scores, t->keys, d_o, t->dim, 1.0f, t->d_v, t->dim);
  for (int64_t i = 0; i < count; i++) {
    float delta = kernels->dot(d_o + i * t->dim, t->o + (first + i) * t->dim, t->dim);
    kernels->score_gradient(t->scores + i * t->keys, t->d_scores + i * t->keys, keys, delta, t->scale);
  }
  multiply(false, false, count, t->dim, keys, t->scores, t->keys, t->k, t->dim, 0.0f, t->d_q + first * t->dim,
           t->dim);
  multiply(true, false, keys, t->dim, count, t->scores, t->keys, q, t->dim, 1.0f, t->d_k, t->dim);
}

static void backward_query_head(const tile *t, int64_t sequence, int64_t head)
{
  const qg_attention_args *a = t->args;
  load(query_head(t, a->q, sequence, head), t->q);
  load(query_head(t, a->o, sequence, head), t->o);
  load(query_head(t, a->d_o, sequence, head), t->d_o);
  const float *lse = a->lse + head * a->q.rows + sequence * t->length;
  for (int64_t first = 0; first < t->length; first += QUERY_ROWS)
    backward_block(t, first, qg_min_i64(QUERY_ROWS, t->length - first), lse);
  store(t->d_q, query_head(t, a->d_q, sequence, head));
}

/* The query heads of a group add to the same keys and values, one after the other. */
static void backward_kv_head(const tile *t, int64_t sequence, int64_t kv_head)
{
  const qg_attention_args *a = t->args;
  size_t bytes = (size_t)(t->keys * t->dim) * sizeof(float);
  load(key_head(t, a->k, sequence, kv_head), t->k);
  load(key_head(t, a->v, sequence, kv_head), t->v);
  memset(t->d_k, 0, bytes);
  memset(t->d_v, 0, bytes);
  for (int64_t i = 0; i < t->group; i++) backward_query_head(t, sequence, kv_head * t->group + i);
  store(t->d_k, key_head(t, a->d_k, sequence, kv_head));
  store(t->d_v, key_head(t, a->d_v, sequence, kv_head));
}

qg_status qg_cpu_attention_backward(qg_backend *be, const qg_attention_args *a)
{
  QG_TRY(qg_attention_check_backward(a));
  if (qg_cpu_of(be)->panels) return qg_attention_backward_bf16(be, a);
  size_t floats = tile_floats(a->sequence_length, qg_attention_keys(a), a->head_dim);
  void *scratch;
  QG_TRY(qg_cpu_scratch(be, (size_t)be->threads * floats * sizeof(float), "attention backward", &scratch));
  int64_t items = a->q.rows / a->sequence_length * a->kv_heads;
#pragma omp parallel num_threads(be->threads)
  {
    tile t = make_tile(a, (float *)scratch + (size_t)omp_get_thread_num() * floats);
#pragma omp for schedule(static)
    for (int64_t item = 0; item < items; item++) backward_kv_head(&t, item / a->kv_heads, item % a->kv_heads);
  }
  return QG_OK;
}
