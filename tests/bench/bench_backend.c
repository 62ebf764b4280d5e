/* Operations of the CPU backend at the shapes of a Q-GaLore step of LLaMA-60M (2048 tokens, rank 128): GEMMs
 * as a share of the best rate seen in the same run, and compared with oneDNN at the same shape, in turns;
 * memory-bound ones as a share of the copy bandwidth measured in the same run. With one thread times are the
 * processor's, else the wall's. A line of JSON per operation follows the table. Usage: bench_backend
 * [bf16|fp32] [threads]. */
#include <stdio.h>
#include <stdlib.h>

#include "support/bench/operation_bench.h"

enum {
  TOKENS = 2048,
  LENGTH = 256,
  HIDDEN = 512,
  INNER = 1376,
  VOCAB = 32000,
  LOSS_ROWS = 512,
  HEADS = 8,
  HEAD_DIM = 64,
  RANK = 128
};
static qg_status run_gemm(bench *b, const void *args)
{
  return b->be->ops->gemm(b->be, args);
}
static qg_status run_onednn(bench *b, const void *args)
{
  return onednn_gemm(&b->onednn, args);
}
static qg_status run_rmsnorm(bench *b, const void *args)
{
  return b->be->ops->rmsnorm(b->be, args);
}
static qg_status run_rmsnorm_backward(bench *b, const void *args)
{
  return b->be->ops->rmsnorm_backward(b->be, args);
}
static qg_status run_rope(bench *b, const void *args)
{
  return b->be->ops->rope(b->be, args);
}
static qg_status run_swiglu(bench *b, const void *args)
{
  return b->be->ops->swiglu(b->be, args);
}
static qg_status run_swiglu_backward(bench *b, const void *args)
{
  return b->be->ops->swiglu_backward(b->be, args);
}
static qg_status run_attention(bench *b, const void *args)
{
  return b->be->ops->attention(b->be, args);
}
static qg_status run_attention_backward(bench *b, const void *args)
{
  return b->be->ops->attention_backward(b->be, args);
}
static qg_status run_cross_entropy(bench *b, const void *args)
{
  return b->be->ops->cross_entropy(b->be, args);
}

typedef struct {
  qg_view dst, src;
  const int32_t *ids;
} pair;

static qg_status run_convert(bench *b, const void *args)
{
  const pair *p = args;
  return b->be->ops->convert(b->be, p->dst, p->src);
}

static qg_status run_axpy(bench *b, const void *args)
{
  const pair *p = args;
  return b->be->ops->axpy(b->be, 0.5f, p->src, p->dst);
}

static qg_status run_sum_squares(bench *b, const void *args)
{
  const pair *p = args;
  return b->be->ops->sum_squares(b->be, p->src, p->dst.data, NULL);
}

static qg_status run_embed(bench *b, const void *args)
{
  const pair *p = args;
  return b->be->ops->embed(b->be, p->src, p->ids, p->dst);
}

static qg_status run_embed_backward(bench *b, const void *args)
{
  const pair *p = args;
  return b->be->ops->embed_backward(b->be, p->ids, p->src, p->dst);
}

static double bytes_of(qg_view view)
{
  return (double)qg_dtype_bytes(view.type, view.rows * view.cols);
}

/* C [m, n] over a depth of k, as one of Y = X W^T (NT), dX = dY W (NN), dW += dY^T X (TN). */
static void bench_gemm(bench *b, const char *layout, int64_t m, int64_t n, int64_t k, qg_dtype out,
                       float beta)
{
  char name[48];
  b->used = 0;
  bool ta = layout[0] == 'T', tb = layout[1] == 'T';
  qg_gemm_args args = {.a = filled(b, b->be->compute, ta ? k : m, ta ? m : k),
                       .b = filled(b, b->be->compute, tb ? n : k, tb ? k : n),
                       .c = filled(b, out, m, n),
                       .trans_a = ta,
                       .trans_b = tb,
                       .alpha = 1.0f,
                       .beta = beta};
  snprintf(name, sizeof name, "gemm %s %lldx%lldx%lld %s%s", layout, (long long)m, (long long)n, (long long)k,
           qg_dtype_name(out), beta == 0.0f ? "" : " +=");
  operation *reference = onednn_takes(&args) ? run_onednn : NULL;
  measure_against(b, name, true, 2.0 * (double)m * (double)n * (double)k, run_gemm, reference, &args);
}

/* One linear layer of `outputs` x `inputs` over `tokens`. */
static void bench_linear(bench *b, int64_t tokens, int64_t outputs, int64_t inputs, qg_dtype out)
{
  bench_gemm(b, "NT", tokens, outputs, inputs, out, 0.0f);
  bench_gemm(b, "NN", tokens, inputs, outputs, b->be->compute, 0.0f);
  bench_gemm(b, "NN", tokens, inputs, outputs, b->be->compute, 1.0f);
  bench_gemm(b, "TN", outputs, inputs, tokens, QG_F32, 1.0f);
  bench_gemm(b, "TN", outputs, inputs, tokens, QG_F32, 0.0f);
}

/* A projected matrix with HIDDEN as its shorter side: shrink, accumulate, project back (doc/method.md section
 * 4). */
static void bench_low_rank(bench *b, int64_t longer, bool right)
{
  qg_dtype type = b->be->compute;
  bench_gemm(b, right ? "NT" : "NN", TOKENS, RANK, HIDDEN, type, 0.0f);
  bench_gemm(b, "TN", right ? longer : RANK, right ? RANK : longer, TOKENS, QG_F32, 1.0f);
  bench_gemm(b, "TN", right ? longer : RANK, right ? RANK : longer, TOKENS, type, 1.0f);
  bench_gemm(b, "NN", right ? longer : HIDDEN, right ? HIDDEN : longer, RANK, QG_F32, 0.0f);
}

static void bench_gemms(bench *b)
{
  bench_linear(b, TOKENS, HIDDEN, HIDDEN, b->be->compute);
  bench_linear(b, TOKENS, INNER, HIDDEN, b->be->compute);
  bench_linear(b, TOKENS, HIDDEN, INNER, b->be->compute);
  bench_linear(b, LOSS_ROWS, VOCAB, HIDDEN, QG_F32);
  bench_low_rank(b, HIDDEN, true);
  bench_low_rank(b, INNER, true);
  bench_low_rank(b, INNER, false);
}

static void bench_copies(bench *b)
{
  b->used = 0;
  pair copy = {.dst = filled(b, QG_F32, TOKENS, 8192), .src = filled(b, QG_F32, TOKENS, 8192)};
  measure(b, "copy", false, 2.0 * bytes_of(copy.src), run_convert, &copy);
  b->used = 0;
  pair narrow = {.dst = filled(b, QG_BF16, TOKENS, 8192), .src = filled(b, QG_F32, TOKENS, 8192)};
  measure(b, "convert f32 to bf16", false, bytes_of(narrow.src) + bytes_of(narrow.dst), run_convert, &narrow);
  pair add = {.dst = narrow.src, .src = narrow.dst};
  measure(b, "axpy bf16 to f32", false, 2.0 * bytes_of(add.dst) + bytes_of(add.src), run_axpy, &add);
  pair squares = {.dst = take(b, QG_F64, 1, 1), .src = narrow.src};
  measure(b, "sum_squares f32", false, bytes_of(squares.src), run_sum_squares, &squares);
}

static int32_t *fill_ids(bench *b, int64_t count)
{
  int32_t host[TOKENS];
  for (int64_t i = 0; i < count; i++) host[i] = (int32_t)(i * 7919 % VOCAB);
  qg_view ids = take(b, QG_I32, 1, count);
  give_up(b->be->ops->copy_in(b->be, ids.data, host, (size_t)count * sizeof host[0]));
  return ids.data;
}

static void bench_embedding(bench *b)
{
  b->used = 0;
  pair gather = {.dst = filled(b, b->be->compute, TOKENS, HIDDEN),
                 .src = filled(b, b->be->compute, VOCAB, HIDDEN)};
  gather.ids = fill_ids(b, TOKENS);
  measure(b, "embed", false, 2.0 * bytes_of(gather.dst), run_embed, &gather);
  pair scatter = {.dst = filled(b, QG_F32, VOCAB, HIDDEN), .src = gather.dst, .ids = gather.ids};
  measure(b, "embed_backward", false, bytes_of(scatter.src) + 8.0 * TOKENS * HIDDEN, run_embed_backward,
          &scatter);
}

static void bench_norm(bench *b)
{
  b->used = 0;
  qg_dtype type = b->be->compute;
  qg_view rstd = filled(b, QG_F32, 1, TOKENS), dweight = filled(b, QG_F32, 1, HIDDEN);
  qg_rmsnorm_args norm = {.x = filled(b, type, TOKENS, HIDDEN),
                          .add = filled(b, type, TOKENS, HIDDEN),
                          .sum = filled(b, type, TOKENS, HIDDEN),
                          .weight = filled(b, type, 1, HIDDEN),
                          .y = filled(b, type, TOKENS, HIDDEN),
                          .rstd = rstd.data,
                          .eps = 1e-6f};
  measure(b, "rmsnorm with add", false, 4.0 * bytes_of(norm.x), run_rmsnorm, &norm);
  qg_rmsnorm_backward_args back = {.x = norm.sum,
                                   .weight = norm.weight,
                                   .dy = norm.x,
                                   .dx = norm.y,
                                   .rstd = rstd.data,
                                   .dweight = dweight.data};
  measure(b, "rmsnorm_backward", false, 3.0 * bytes_of(norm.x), run_rmsnorm_backward, &back);
}

static void bench_swiglu(bench *b)
{
  b->used = 0;
  qg_dtype type = b->be->compute;
  qg_swiglu_args args = {.gate = filled(b, type, TOKENS, INNER),
                         .up = filled(b, type, TOKENS, INNER),
                         .out = filled(b, type, TOKENS, INNER),
                         .d_out = filled(b, type, TOKENS, INNER),
                         .d_gate = filled(b, type, TOKENS, INNER),
                         .d_up = filled(b, type, TOKENS, INNER)};
  measure(b, "swiglu", false, 3.0 * bytes_of(args.gate), run_swiglu, &args);
  measure(b, "swiglu_backward", false, 6.0 * bytes_of(args.gate), run_swiglu_backward, &args);
}

static void bench_rope(bench *b)
{
  b->used = 0;
  qg_rope_args args = {.x = filled(b, b->be->compute, TOKENS, HIDDEN),
                       .cos = filled(b, QG_F32, LENGTH, HEAD_DIM / 2).data,
                       .sin = filled(b, QG_F32, LENGTH, HEAD_DIM / 2).data,
                       .sequence_length = LENGTH,
                       .heads = HEADS,
                       .head_dim = HEAD_DIM};
  measure(b, "rope", false, 2.0 * bytes_of(args.x), run_rope, &args);
}

/* FLOPs of the visible half of the scores alone: 2 products forward, 5 backward. */
static void bench_attention(bench *b)
{
  b->used = 0;
  qg_view v[8];
  for (int i = 0; i < 8; i++) v[i] = filled(b, b->be->compute, TOKENS, HIDDEN);
  qg_attention_args args = {.q = v[0],
                            .k = v[1],
                            .v = v[2],
                            .o = v[3],
                            .lse = take(b, QG_F32, HEADS, TOKENS).data,
                            .d_o = v[4],
                            .d_q = v[5],
                            .d_k = v[6],
                            .d_v = v[7],
                            .sequence_length = LENGTH,
                            .heads = HEADS,
                            .kv_heads = HEADS,
                            .head_dim = HEAD_DIM};
  double product = 2.0 * TOKENS * (LENGTH + 1) / 2.0 * HIDDEN;
  measure(b, "attention", true, 2.0 * product, run_attention, &args);
  measure(b, "attention_backward", true, 5.0 * product, run_attention_backward, &args);
}

static void bench_loss(bench *b)
{
  b->used = 0;
  qg_cross_entropy_args args = {.logits = filled(b, QG_F32, LOSS_ROWS, VOCAB),
                                .d_logits = filled(b, b->be->compute, LOSS_ROWS, VOCAB),
                                .targets = fill_ids(b, LOSS_ROWS),
                                .loss = take(b, QG_F64, 1, 1).data,
                                .grad_scale = 1.0f};
  measure(b, "cross_entropy", false, bytes_of(args.logits) + bytes_of(args.d_logits), run_cross_entropy,
          &args);
}

typedef struct {
  qg_int8_store store;
  qg_view dst;
} dequantisation;

static qg_status run_dequantize(bench *b, const void *args)
{
  const dequantisation *d = args;
  return b->be->ops->dequantize_int8(b->be, d->store, d->dst);
}

/* Every weight is read this way in forward and in backward; the rest of the formats is bench_quant's. */
static void bench_formats(bench *b)
{
  b->used = 0;
  int64_t count = 16 * HIDDEN * INNER;
  qg_view codes = take(b, QG_U8, 1, count), zero = take(b, QG_U8, 1, qg_group_count(count));
  dequantisation d = {.store = {codes.data, filled(b, QG_F32, 1, qg_group_count(count)).data, zero.data},
                      .dst = take(b, b->be->compute, 1, count)};
  measure(b, "dequantize_int8", false,
          (double)(count + qg_group_count(count) * 5) + (double)qg_dtype_bytes(b->be->compute, count),
          run_dequantize, &d);
}

static void prepare(bench *b)
{
  const qg_workload workload = {.tokens = TOKENS,
                                .sequence_length = LENGTH,
                                .hidden_size = HIDDEN,
                                .intermediate_size = INNER,
                                .num_heads = HEADS,
                                .num_kv_heads = HEADS,
                                .vocab_size = VOCAB,
                                .logit_chunk_tokens = LOSS_ROWS};
  void *workspace;
  size_t bytes = b->be->ops->workspace_bytes(b->be, &workload);
  give_up(b->be->ops->alloc(b->be, bytes, &workspace));
  b->be->ops->set_workspace(b->be, workspace, bytes);
  b->pool_bytes = (size_t)384 << 20;
  give_up(b->be->ops->alloc(b->be, b->pool_bytes, (void **)&b->pool));
}

int main(int argc, char **argv)
{
  static bench b;
  qg_backend_request request = {
      .name = "cpu", .precision = argc > 1 ? argv[1] : "bf16", .threads = argc > 2 ? atoi(argv[2]) : 2};
  give_up(qg_backend_open(&request, &b.be));
  prepare(&b);
  bench_copies(&b);
  bench_gemms(&b);
  bench_attention(&b);
  bench_embedding(&b);
  bench_norm(&b);
  bench_rope(&b);
  bench_swiglu(&b);
  bench_loss(&b);
  bench_formats(&b);
  print_table(&b);
  onednn_close(&b.onednn);
  qg_backend_close(b.be);
  return 0;
}
