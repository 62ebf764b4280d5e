#include "bench_kernels.h"

#include <string.h>

#include "qgalore/base.h"

static qg_status copy(bench *b)
{
  return b->be->ops->convert(b->be, b->up, b->gate);
}

static qg_status gemm(bench *b)
{
  qg_gemm_args args = {.a = b->x, .b = b->matrix, .c = b->product, .trans_b = true, .alpha = 1.0f};
  return b->be->ops->gemm(b->be, &args);
}

static qg_status gemm_back(bench *b)
{
  qg_gemm_args args = {.a = b->gate, .b = b->matrix, .c = b->y, .alpha = 1.0f};
  return b->be->ops->gemm(b->be, &args);
}

static qg_attention_args attention_args(bench *b)
{
  int64_t heads = b->hidden / HEAD_DIM;
  return (qg_attention_args){.q = b->x,
                             .k = b->y,
                             .v = b->z,
                             .o = b->o,
                             .lse = b->lse,
                             .d_o = b->o,
                             .d_q = qg_view_cols(b->gate, 0, b->hidden),
                             .d_k = qg_view_cols(b->up, 0, b->hidden),
                             .d_v = qg_view_cols(b->product, 0, b->hidden),
                             .sequence_length = SEQUENCE,
                             .heads = heads,
                             .kv_heads = heads,
                             .head_dim = HEAD_DIM};
}

static qg_status attention(bench *b)
{
  qg_attention_args args = attention_args(b);
  return b->be->ops->attention(b->be, &args);
}

static qg_status attention_backward(bench *b)
{
  qg_attention_args args = attention_args(b);
  return b->be->ops->attention_backward(b->be, &args);
}

static qg_status rmsnorm(bench *b)
{
  qg_rmsnorm_args args = {
      .x = b->x, .add = b->y, .sum = b->x, .weight = b->weight, .y = b->z, .rstd = b->rstd, .eps = 1e-6f};
  return b->be->ops->rmsnorm(b->be, &args);
}

static qg_status rmsnorm_backward(bench *b)
{
  qg_rmsnorm_backward_args args = {
      .x = b->x, .weight = b->weight, .dy = b->y, .dx = b->z, .rstd = b->rstd, .dweight = b->dweight};
  return b->be->ops->rmsnorm_backward(b->be, &args);
}

static qg_status rope(bench *b)
{
  qg_rope_args args = {.x = b->x,
                       .cos = b->cos,
                       .sin = b->sin,
                       .sequence_length = SEQUENCE,
                       .heads = b->hidden / HEAD_DIM,
                       .head_dim = HEAD_DIM};
  return b->be->ops->rope(b->be, &args);
}

static qg_status swiglu(bench *b)
{
  qg_swiglu_args args = {.gate = b->gate, .up = b->up, .out = b->product};
  return b->be->ops->swiglu(b->be, &args);
}

static qg_status swiglu_backward(bench *b)
{
  qg_swiglu_args args = {.gate = b->gate, .up = b->up, .d_out = b->product, .d_gate = b->gate, .d_up = b->up};
  return b->be->ops->swiglu_backward(b->be, &args);
}

static qg_status cross_entropy(bench *b)
{
  qg_cross_entropy_args args = {b->logits, b->d_logits, b->targets, b->loss, 1.0f};
  return b->be->ops->cross_entropy(b->be, &args);
}

static qg_status embed(bench *b)
{
  return b->be->ops->embed(b->be, b->table, b->ids, b->o);
}

static qg_status embed_backward(bench *b)
{
  return b->be->ops->embed_backward(b->be, b->ids, b->o, b->table_grad);
}

static qg_status sum_squares(bench *b)
{
  return b->be->ops->sum_squares(b->be, b->logits, b->loss, NULL);
}

static qg_status round_to_bf16(bench *b)
{
  return b->be->ops->convert(b->be, b->d_logits, b->logits);
}

static qg_status quantize_int8(bench *b)
{
  return b->be->ops->quantize_int8(b->be, b->update, b->elements, (qg_int8_rule){.include_zero = true},
                                   b->int8);
}

static qg_status quantize_int4(bench *b)
{
  return b->be->ops->quantize_int4(b->be, b->update, b->elements, true, b->int4);
}

static qg_status update_dense(bench *b)
{
  qg_update_dense_args args = {.weights = b->matrix.data,
                               .type = QG_BF16,
                               .count = b->elements,
                               .update = b->update,
                               .stochastic = true,
                               .rng = {.seed = 1, .purpose = QG_RNG_ROUND}};
  return b->be->ops->update_dense(b->be, &args);
}

static qg_moments_args moments(bench *b)
{
  const qg_adam_args *a = &b->adam;
  return (qg_moments_args){.mean = b->update,
                           .variance = b->table_grad.data,
                           .count = qg_min_i64(a->count, b->vocab * b->hidden),
                           .c1 = 1.0f,
                           .c2_squared = 1.0f,
                           .m_codes = a->m_codes,
                           .v_codes = a->v_codes,
                           .m_absmax = a->m_absmax,
                           .v_absmax = a->v_absmax,
                           .block = a->block};
}

static qg_status read_moments(bench *b)
{
  qg_moments_args args = moments(b);
  return b->be->ops->read_moments(b->be, &args);
}

static qg_status write_moments(bench *b)
{
  qg_moments_args args = moments(b);
  return b->be->ops->write_moments(b->be, &args);
}

static qg_status dequantize_int8(bench *b)
{
  return b->be->ops->dequantize_int8(b->be, b->int8, b->matrix);
}

static qg_status dequantize_int4(bench *b)
{
  return b->be->ops->dequantize_int4(b->be, b->int4, b->elements, b->matrix.data, QG_BF16);
}

static qg_status update_int8(bench *b)
{
  qg_update_int8_args args = {.store = b->int8,
                              .count = b->elements,
                              .update = b->update,
                              .rule = {.include_zero = true, .stochastic = true},
                              .rng = {.seed = 1, .purpose = QG_RNG_ROUND}};
  return b->be->ops->update_int8(b->be, &args);
}

static qg_status adam(bench *b)
{
  return b->be->ops->adam(b->be, &b->adam);
}

/* Attention: forward reads q, k, v and writes o; 2 products of 2 FLOPs an element of the causal half.
 * Backward reads o and d_o as well and writes three gradients; 5 products. */
void bench_list(const bench *b, kernel kernels[BENCH_KERNELS])
{
  double x = 2.0 * (double)(b->tokens * b->hidden), wide = 2.0 * (double)(b->tokens * b->wide);
  double n = (double)b->elements, logits = (double)LOSS_ROWS * (double)b->vocab;
  double products = 2.0 * (double)b->tokens * n;
  double scores = 4.0 * (double)b->tokens * (SEQUENCE + 1) / 2.0 * (double)b->hidden;
  double moved = (double)qg_min_i64(b->elements, b->vocab * b->hidden);
  const kernel list[] = {
      [BENCH_COPY] = {"copy", copy, 2 * wide, 0, false},
      [BENCH_GEMM] = {"gemm x W^T", gemm, x + wide + 2 * n, products, false},
      [BENCH_GEMM_BACK] = {"gemm dy W", gemm_back, x + wide + 2 * n, products, false},
      {"attention blocks", attention, 4 * x, scores, false},
      {"attention fused", attention, 4 * x, scores, true},
      {"backward blocks", attention_backward, 8 * x, 2.5 * scores, false},
      {"backward fused", attention_backward, 8 * x, 2.5 * scores, true},
      {"embed", embed, 2 * x, 0, false},
      {"embed backward", embed_backward, 5 * x, 0, false},
      {"rmsnorm + add", rmsnorm, 4 * x, 0, false},
      {"rmsnorm backward", rmsnorm_backward, 3 * x, 0, false},
      {"rope", rope, 2 * x, 0, false},
      {"swiglu", swiglu, 3 * wide, 0, false},
      {"swiglu backward", swiglu_backward, 5 * wide, 0, false},
      {"cross-entropy", cross_entropy, 6 * logits, 0, false},
      {"round to bf16", round_to_bf16, 6 * logits, 0, false},
      {"sum of squares", sum_squares, 4 * logits, 0, false},
      {"quantise int8", quantize_int8, 5 * n, 0, false},
      {"dequantise int8", dequantize_int8, 3 * n, 0, false},
      {"quantise int4", quantize_int4, 4.5 * n, 0, false},
      {"dequantise int4", dequantize_int4, 2.5 * n, 0, false},
      {"update int8", update_int8, 6 * n, 0, false},
      {"update dense", update_dense, 8 * n, 0, false},
      {"adam 8 bit", adam, 10 * n, 0, false},
      {"read moments", read_moments, 10 * moved, 0, false},
      {"write moments", write_moments, 10 * moved, 0, false},
  };
  _Static_assert(sizeof list / sizeof *list == BENCH_KERNELS, "all kernels are listed");
  memcpy(kernels, list, sizeof list);
}
