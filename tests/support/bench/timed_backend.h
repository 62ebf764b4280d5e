/* A backend around another one that adds up seconds and FLOPs by kind of operation. */
#ifndef QG_TESTS_TIMED_BACKEND_H
#define QG_TESTS_TIMED_BACKEND_H

#include "qgalore/backend.h"
#include "qgalore/base.h"
#include "support/bench/bench_clock.h"
#include "support/bench/onednn_gemm.h"

typedef enum {
  TIMED_GEMM_FORWARD, /* A B^T */
  TIMED_GEMM_INPUT,   /* A B: gradients of inputs */
  TIMED_GEMM_WEIGHT,  /* A^T B: gradients of weights */
  TIMED_ATTENTION,
  TIMED_ATTENTION_BACKWARD,
  TIMED_CROSS_ENTROPY,
  TIMED_NORM,
  TIMED_ROPE,
  TIMED_SWIGLU,
  TIMED_EMBED,
  TIMED_COPY, /* convert and axpy */
  TIMED_DEQUANTIZE,
  TIMED_ADAM,
  TIMED_UPDATE,
  TIMED_CLEAR_SQUARES, /* zero and sum_squares */
  TIMED_COUNT
} timed_kind;

static const char *const timed_names[TIMED_COUNT] = {"gemm forward",
                                                     "gemm input gradient",
                                                     "gemm weight gradient",
                                                     "attention",
                                                     "attention backward",
                                                     "cross-entropy",
                                                     "norm, both ways",
                                                     "rotation",
                                                     "swiglu, both ways",
                                                     "embedding",
                                                     "copies and residuals",
                                                     "dequantisation",
                                                     "Adam",
                                                     "weight update",
                                                     "clearing and norms"};

/* `be` comes first: the table's functions find the rest through it. */
typedef struct {
  qg_backend be;
  qg_backend_ops ops;
  qg_backend *real;
  double seconds[TIMED_COUNT], flops[TIMED_COUNT];
  int64_t calls[TIMED_COUNT];
  bool by_onednn; /* the products that it takes */
  onednn_state onednn;
} timed_backend;

static inline qg_status timed_add(timed_backend *timed, timed_kind kind, double start, double flops,
                                  qg_status status)
{
  timed->real->ops->sync(timed->real);
  timed->seconds[kind] += bench_seconds(timed->real->threads) - start;
  timed->flops[kind] += flops;
  timed->calls[kind]++;
  return status;
}

#define TIMED(kind, flops, call)                      \
  timed_backend *timed = (timed_backend *)be;         \
  double start = bench_seconds(timed->real->threads); \
  return timed_add(timed, (kind), start, (flops), timed->real->ops->call)

static inline qg_status timed_gemm(qg_backend *be, const qg_gemm_args *a)
{
  timed_kind kind = a->trans_a ? TIMED_GEMM_WEIGHT : a->trans_b ? TIMED_GEMM_FORWARD : TIMED_GEMM_INPUT;
  int64_t depth = a->trans_a ? a->a.rows : a->a.cols;
  double flops = 2.0 * (double)a->c.rows * (double)a->c.cols * (double)depth;
  timed_backend *t = (timed_backend *)be;
  if (t->by_onednn && onednn_takes(a)) {
    double begin = bench_seconds(be->threads);
    return timed_add(t, kind, begin, flops, onednn_gemm(&t->onednn, a));
  }
  TIMED(kind, flops, gemm(timed->real, a));
}

/* Two products of the causal half forward; backward five, as the scores are made again. */
static inline double timed_attention_flops(const qg_attention_args *a, double products)
{
  return products * (double)a->q.rows * (double)a->q.cols * (double)a->sequence_length;
}

static inline qg_status timed_attention(qg_backend *be, const qg_attention_args *a)
{
  TIMED(TIMED_ATTENTION, timed_attention_flops(a, 2), attention(timed->real, a));
}

static inline qg_status timed_attention_backward(qg_backend *be, const qg_attention_args *a)
{
  TIMED(TIMED_ATTENTION_BACKWARD, timed_attention_flops(a, 5), attention_backward(timed->real, a));
}

static inline qg_status timed_cross_entropy(qg_backend *be, const qg_cross_entropy_args *a)
{
  TIMED(TIMED_CROSS_ENTROPY, 0, cross_entropy(timed->real, a));
}

static inline qg_status timed_rmsnorm(qg_backend *be, const qg_rmsnorm_args *a)
{
  TIMED(TIMED_NORM, 0, rmsnorm(timed->real, a));
}

static inline qg_status timed_rmsnorm_backward(qg_backend *be, const qg_rmsnorm_backward_args *a)
{
  TIMED(TIMED_NORM, 0, rmsnorm_backward(timed->real, a));
}

static inline qg_status timed_rope(qg_backend *be, const qg_rope_args *a)
{
  TIMED(TIMED_ROPE, 0, rope(timed->real, a));
}

static inline qg_status timed_swiglu(qg_backend *be, const qg_swiglu_args *a)
{
  TIMED(TIMED_SWIGLU, 0, swiglu(timed->real, a));
}

static inline qg_status timed_swiglu_backward(qg_backend *be, const qg_swiglu_args *a)
{
  TIMED(TIMED_SWIGLU, 0, swiglu_backward(timed->real, a));
}

static inline qg_status timed_embed(qg_backend *be, qg_view table, const int32_t *ids, qg_view out)
{
  TIMED(TIMED_EMBED, 0, embed(timed->real, table, ids, out));
}

static inline qg_status timed_embed_backward(qg_backend *be, const int32_t *ids, qg_view d_out, qg_view grad)
{
  TIMED(TIMED_EMBED, 0, embed_backward(timed->real, ids, d_out, grad));
}

static inline qg_status timed_convert(qg_backend *be, qg_view dst, qg_view src)
{
  TIMED(TIMED_COPY, 0, convert(timed->real, dst, src));
}

static inline qg_status timed_axpy(qg_backend *be, float alpha, qg_view src, qg_view dst)
{
  TIMED(TIMED_COPY, 0, axpy(timed->real, alpha, src, dst));
}

static inline qg_status timed_dequantize_int8(qg_backend *be, qg_int8_store src, qg_view dst)
{
  TIMED(TIMED_DEQUANTIZE, 0, dequantize_int8(timed->real, src, dst));
}

static inline qg_status timed_dequantize_int4(qg_backend *be, qg_int4_store src, int64_t count, void *dst,
                                              qg_dtype type)
{
  TIMED(TIMED_DEQUANTIZE, 0, dequantize_int4(timed->real, src, count, dst, type));
}

static inline qg_status timed_adam(qg_backend *be, const qg_adam_args *a)
{
  TIMED(TIMED_ADAM, 0, adam(timed->real, a));
}

static inline qg_status timed_update_int8(qg_backend *be, const qg_update_int8_args *a)
{
  TIMED(TIMED_UPDATE, 0, update_int8(timed->real, a));
}

static inline qg_status timed_update_dense(qg_backend *be, const qg_update_dense_args *a)
{
  TIMED(TIMED_UPDATE, 0, update_dense(timed->real, a));
}

static inline qg_status timed_zero(qg_backend *be, void *memory, size_t bytes)
{
  TIMED(TIMED_CLEAR_SQUARES, 0, zero(timed->real, memory, bytes));
}

static inline qg_status timed_sum_squares(qg_backend *be, qg_view src, double *out, qg_finite_guard *guard)
{
  TIMED(TIMED_CLEAR_SQUARES, 0, sum_squares(timed->real, src, out, guard));
}

static inline void timed_forget(timed_backend *timed)
{
  for (int k = 0; k < TIMED_COUNT; k++) {
    timed->seconds[k] = timed->flops[k] = 0;
    timed->calls[k] = 0;
  }
}

/* Shares the device and the workspace of `real`, which stays open. */
static inline void timed_backend_make(qg_backend *real, timed_backend *timed)
{
  *timed = (timed_backend){.be = *real, .ops = *real->ops, .real = real};
  timed->ops.gemm = timed_gemm;
  timed->ops.attention = timed_attention;
  timed->ops.attention_backward = timed_attention_backward;
  timed->ops.cross_entropy = timed_cross_entropy;
  timed->ops.rmsnorm = timed_rmsnorm;
  timed->ops.rmsnorm_backward = timed_rmsnorm_backward;
  timed->ops.rope = timed_rope;
  timed->ops.swiglu = timed_swiglu;
  timed->ops.swiglu_backward = timed_swiglu_backward;
  timed->ops.embed = timed_embed;
  timed->ops.embed_backward = timed_embed_backward;
  timed->ops.convert = timed_convert;
  timed->ops.axpy = timed_axpy;
  timed->ops.dequantize_int8 = timed_dequantize_int8;
  timed->ops.dequantize_int4 = timed_dequantize_int4;
  timed->ops.adam = timed_adam;
  timed->ops.update_int8 = timed_update_int8;
  timed->ops.update_dense = timed_update_dense;
  timed->ops.zero = timed_zero;
  timed->ops.sum_squares = timed_sum_squares;
  timed->be.ops = &timed->ops;
}

#undef TIMED

#endif
