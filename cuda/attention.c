/* Causal attention in blocks of query rows: batched products of many heads through cuBLAS, with a fused
 * softmax between them. Scores of QUERY_ROWS rows of as many heads as fit into the scratch are alive at a
 * time (Dao et al., arXiv 2205.14135, with whole rows of keys). The formulas are those of
 * backend/cpu/attention.c. */
#include <math.h>

#include "cuda/cuda_backend.h"
#include "qgalore/backend/attention.h"
#include "qgalore/base.h"

/* SCRATCH_BYTES: enough heads at once to fill a GPU at a sequence length of 256. */
enum { QUERY_ROWS = 256, SCRATCH_BYTES = 64 << 20 };

/* Scratch of one pass: `items` items a time (see qg_attention_block). Arrays of the compute type unless f32.
 */
typedef struct {
  int64_t items;
  size_t head, key_head;       /* elements of an item: [length, padded_dim] and [keys, padded_dim] */
  size_t row_block;            /* [QUERY_ROWS, padded_keys] */
  char *q, *k, *v, *d_o, *out; /* packed heads; out: o, or d_q */
  float *d_k, *d_v;            /* packed */
  float *scores, *d_scores;
  char *p, *d_s;
  float *delta; /* [items, length] */
} attention_scratch;

static int64_t rows_at_once(int64_t length)
{
  return qg_min_i64(length, QUERY_ROWS);
}

static size_t item_bytes(qg_dtype type, int64_t length, int64_t keys, int64_t dim)
{
  int64_t head = length * qg_padded_stride(dim), key_head = keys * qg_padded_stride(dim);
  int64_t block = rows_at_once(length) * qg_padded_stride(keys);
  return qg_dtype_bytes(type, 3 * head + 2 * key_head + 2 * block) +
         qg_dtype_bytes(QG_F32, 2 * key_head + 2 * block + qg_padded_stride(length));
}

/* Where heads are fused, one item at a time is enough for views that are not aligned and for more keys than
 * queries. */
size_t qg_cuda_attention_bytes(const qg_backend *be, const qg_workload *w)
{
  int64_t items = w->tokens / w->sequence_length * w->num_kv_heads, dim = w->hidden_size / w->num_heads;
  size_t one = item_bytes(be->compute, w->sequence_length, qg_workload_key_length(w), dim),
         all = (size_t)items * one;
  if (qg_cuda_fuses_heads(be, dim))
    return qg_max_size(one, qg_cuda_attention_fused_bytes(w->num_heads, w->tokens));
  size_t enough = qg_max_size(one, SCRATCH_BYTES);
  return all < enough ? all : enough;
}

static void *take(char **memory, size_t bytes)
{
  void *piece = *memory;
  *memory += bytes;
  return piece;
}

static qg_status lay_out(qg_backend *be, const qg_attention_args *a, int64_t items, attention_scratch *s)
{
  int64_t length = a->sequence_length, keys = qg_attention_keys(a), dim = qg_padded_stride(a->head_dim);
  size_t one = item_bytes(be->compute, length, keys, a->head_dim);
  s->items = qg_max_i64(1, qg_min_i64(items, (int64_t)(qg_cuda_of(be)->scratch_bytes / one)));
  s->head = (size_t)(length * dim);
  s->key_head = (size_t)(keys * dim);
  s->row_block = (size_t)(rows_at_once(length) * qg_padded_stride(keys));
  void *memory;
  QG_TRY(qg_cuda_scratch(be, (size_t)s->items * one, "attention", &memory));
  char *next = memory;
  size_t heads = (size_t)s->items * s->head, key_heads = (size_t)s->items * s->key_head;
  size_t blocks = (size_t)s->items * s->row_block;
  size_t size = qg_dtype_bytes(be->compute, 1);
  s->q = take(&next, heads * size);
  s->k = take(&next, key_heads * size);
  s->v = take(&next, key_heads * size);
  s->d_o = take(&next, heads * size);
  s->out = take(&next, heads * size);
  s->d_k = take(&next, key_heads * sizeof(float));
  s->d_v = take(&next, key_heads * sizeof(float));
  s->scores = take(&next, blocks * sizeof(float));
  s->d_scores = take(&next, blocks * sizeof(float));
  s->p = take(&next, blocks * size);
  s->d_s = take(&next, blocks * size);
  s->delta = (float *)next;
  return QG_OK;
}

/* One operand of a batched product: row-major, items `stride` elements apart. */
typedef struct {
  void *data;
  qg_dtype type;
  int64_t ld, stride;
  bool transposed;
} operand;

/* c [m, n] = alpha op(a) op(b) + beta c for every item; row-major as in gemm.c. */
static qg_status multiply(qg_backend *be, const qg_attention_block *block, int64_t m, int64_t n, int64_t k,
                          float alpha, operand a, operand b, float beta, operand c)
{
  qg_cuda *cuda = qg_cuda_of(be);
  QG_CUBLAS(be, cublasGemmStridedBatchedEx(cuda->blas, b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                                           a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N, (int)n, (int)m, (int)k,
                                           &alpha, b.data, qg_cuda_type(b.type), (int)b.ld, b.stride, a.data,
                                           qg_cuda_type(a.type), (int)a.ld, a.stride, &beta, c.data,
                                           qg_cuda_type(c.type), (int)c.ld, c.stride, (int)block->items,
                                           CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  return QG_OK;
}

/* Packed query heads from the block's first row on. */
static operand queries(const qg_attention_block *b, void *data, qg_dtype type)
{
  char *from = (char *)data + qg_dtype_bytes(type, b->first_row * b->padded_dim);
  return (operand){from, type, b->padded_dim, b->length * b->padded_dim, false};
}

/* Packed heads of keys or values, or of their gradients. */
static operand keys_of(const qg_attention_block *b, void *data, qg_dtype type)
{
  return (operand){data, type, b->padded_dim, b->keys * b->padded_dim, false};
}

/* Scores or probabilities of the block's rows. */
static operand row_block(const qg_attention_block *b, void *data, qg_dtype type)
{
  return (operand){data, type, b->padded_keys, b->rows * b->padded_keys, false};
}

static operand transpose(operand x)
{
  x.transposed = !x.transposed;
  return x;
}

static qg_attention_block first_block(const qg_attention_args *a)
{
  return (qg_attention_block){.kv_heads = a->kv_heads,
                              .group = a->heads / a->kv_heads,
                              .length = a->sequence_length,
                              .keys = qg_attention_keys(a),
                              .position = a->position,
                              .key_length = qg_attention_key_length(a),
                              .dim = a->head_dim,
                              .padded_dim = qg_padded_stride(a->head_dim),
                              .rows = a->sequence_length,
                              .padded_keys = qg_padded_stride(qg_attention_keys(a)),
                              .tokens = a->q.rows,
                              .scale = 1.0f / sqrtf((float)a->head_dim)};
}

/* The keys that any query of the block may see. */
static int64_t visible_keys(const qg_attention_block *b)
{
  return b->position + b->first_row + b->rows;
}

/* S = Q K^T / sqrt(dim) of the block's rows and the keys that any of them may see. */
static qg_status score(qg_backend *be, const qg_attention_block *b, const attention_scratch *s)
{
  return multiply(be, b, b->rows, visible_keys(b), b->padded_dim, b->scale, queries(b, s->q, be->compute),
                  transpose(keys_of(b, s->k, be->compute)), 0.0f, row_block(b, s->scores, QG_F32));
}

static qg_status forward_block(qg_backend *be, const qg_attention_args *a, const attention_scratch *s,
                               qg_attention_block *b)
{
  cudaStream_t stream = qg_cuda_of(be)->stream;
  operand out = queries(b, s->out, be->compute);
  QG_TRY(score(be, b, s));
  QG_CUDA(be, qg_k_softmax(stream, b, s->scores, s->p, be->compute, a->lse));
  QG_TRY(multiply(be, b, b->rows, b->padded_dim, visible_keys(b), 1.0f, row_block(b, s->p, be->compute),
                  keys_of(b, s->v, be->compute), 0.0f, out));
  QG_CUDA(be, qg_k_unpack(stream, b, QG_HEADS_QUERY, out.data, be->compute, a->o));
  return QG_OK;
}

/* P = exp(S - lse), dP = dO V^T, dS = P (dP - dO . O) / sqrt(d); dV += P^T dO, dQ = dS K, dK += dS^T Q. */
static qg_status backward_block(qg_backend *be, const qg_attention_args *a, const attention_scratch *s,
                                qg_attention_block *b)
{
  cudaStream_t stream = qg_cuda_of(be)->stream;
  qg_dtype type = be->compute;
  int64_t keys = visible_keys(b), dim = b->padded_dim;
  operand q = queries(b, s->q, type), d_o = queries(b, s->d_o, type), out = queries(b, s->out, type);
  operand p = row_block(b, s->p, type), d_s = row_block(b, s->d_s, type);
  QG_TRY(score(be, b, s));
  QG_TRY(multiply(be, b, b->rows, keys, dim, 1.0f, d_o, transpose(keys_of(b, s->v, type)), 0.0f,
                  row_block(b, s->d_scores, QG_F32)));
  QG_CUDA(be, qg_k_softmax_backward(stream, b, s->scores, s->d_scores, a->lse, s->delta, s->p, s->d_s, type));
  QG_TRY(multiply(be, b, keys, dim, b->rows, 1.0f, transpose(p), d_o, 1.0f, keys_of(b, s->d_v, QG_F32)));
  QG_TRY(multiply(be, b, b->rows, dim, keys, 1.0f, d_s, keys_of(b, s->k, type), 0.0f, out));
  QG_TRY(multiply(be, b, keys, dim, b->rows, 1.0f, transpose(d_s), q, 1.0f, keys_of(b, s->d_k, QG_F32)));
  QG_CUDA(be, qg_k_unpack(stream, b, QG_HEADS_QUERY, out.data, type, a->d_q));
  return QG_OK;
}

typedef qg_status (*block_pass)(qg_backend *, const qg_attention_args *, const attention_scratch *,
                                qg_attention_block *);

/* All query rows of the query heads `member` of the items. */
static qg_status for_each_block(qg_backend *be, const qg_attention_args *a, const attention_scratch *s,
                                qg_attention_block b, block_pass pass)
{
  for (b.first_row = 0; b.first_row < b.length; b.first_row += QUERY_ROWS) {
    b.rows = qg_min_i64(QUERY_ROWS, b.length - b.first_row);
    QG_TRY(pass(be, a, s, &b));
  }
  return QG_OK;
}

static qg_status pack_keys(qg_backend *be, const qg_attention_args *a, const attention_scratch *s,
                           const qg_attention_block *b)
{
  QG_CUDA(be, qg_k_pack(qg_cuda_of(be)->stream, b, QG_HEADS_KV, a->k, s->k));
  QG_CUDA(be, qg_k_pack(qg_cuda_of(be)->stream, b, QG_HEADS_KV, a->v, s->v));
  return QG_OK;
}

static qg_status forward_items(qg_backend *be, const qg_attention_args *a, const attention_scratch *s,
                               qg_attention_block b)
{
  QG_TRY(pack_keys(be, a, s, &b));
  for (b.member = 0; b.member < b.group; b.member++) {
    QG_CUDA(be, qg_k_pack(qg_cuda_of(be)->stream, &b, QG_HEADS_QUERY, a->q, s->q));
    QG_TRY(for_each_block(be, a, s, b, forward_block));
  }
  return QG_OK;
}

/* The query heads of a group add to the same keys and values, one after the other, in fp32. */
static qg_status backward_items(qg_backend *be, const qg_attention_args *a, const attention_scratch *s,
                                qg_attention_block b)
{
  cudaStream_t stream = qg_cuda_of(be)->stream;
  size_t sums = (size_t)b.items * s->key_head * sizeof(float);
  QG_TRY(pack_keys(be, a, s, &b));
  QG_CUDA(be, cudaMemsetAsync(s->d_k, 0, sums, stream));
  QG_CUDA(be, cudaMemsetAsync(s->d_v, 0, sums, stream));
  for (b.member = 0; b.member < b.group; b.member++) {
    QG_CUDA(be, qg_k_pack(stream, &b, QG_HEADS_QUERY, a->q, s->q));
    QG_CUDA(be, qg_k_pack(stream, &b, QG_HEADS_QUERY, a->d_o, s->d_o));
    QG_CUDA(be, qg_k_delta(stream, &b, a->o, a->d_o, s->delta));
    QG_TRY(for_each_block(be, a, s, b, backward_block));
  }
  QG_CUDA(be, qg_k_unpack(stream, &b, QG_HEADS_KV, s->d_k, QG_F32, a->d_k));
  QG_CUDA(be, qg_k_unpack(stream, &b, QG_HEADS_KV, s->d_v, QG_F32, a->d_v));
  return QG_OK;
}

typedef qg_status (*items_pass)(qg_backend *, const qg_attention_args *, const attention_scratch *,
                                qg_attention_block);

static qg_status for_all_items(qg_backend *be, const qg_attention_args *a, items_pass pass)
{
  int64_t items = a->q.rows / a->sequence_length * a->kv_heads;
  attention_scratch scratch;
  QG_CHECK(a->q.rows <= INT32_MAX / 2, QG_ERR_RUNTIME, "attention over %lld tokens at once",
           (long long)a->q.rows);
  QG_TRY(lay_out(be, a, items, &scratch));
  qg_attention_block b = first_block(a);
  for (b.first_item = 0; b.first_item < items; b.first_item += scratch.items) {
    b.items = qg_min_i64(scratch.items, items - b.first_item);
    QG_TRY(pass(be, a, &scratch, b));
  }
  return QG_OK;
}

qg_status qg_cuda_attention(qg_backend *be, const qg_attention_args *args)
{
  QG_CUDA_RANGE("attention");
  QG_TRY(qg_attention_check(args));
  if (qg_cuda_fuses_forward(be, args)) return qg_cuda_attention_fused(be, args);
  return for_all_items(be, args, forward_items);
}

qg_status qg_cuda_attention_backward(qg_backend *be, const qg_attention_args *args)
{
  QG_CUDA_RANGE("attention_backward");
  QG_TRY(qg_attention_check_backward(args));
  if (qg_cuda_fuses_backward(be, args)) return qg_cuda_attention_fused_backward(be, args);
  return for_all_items(be, args, backward_items);
}
