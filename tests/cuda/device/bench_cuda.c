/* The hot kernels of the CUDA backend at the shapes of LLaMA-7B: bytes over the copy bandwidth, FLOPs over
 * the rate of the largest GEMM, all of one run. Usage: bench_cuda [HIDDEN [JSON_FILE]]; 4096 is LLaMA-7B,
 * smaller models keep its proportions. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../support/cuda_device.h"
#include "qgalore/base.h"

enum { ROUNDS = 7, REPEATS = 10, SEQUENCE = 256, SEQUENCES = 16, HEAD_DIM = 128, LOSS_ROWS = 1024 };

typedef struct {
  qg_backend *be;
  int64_t hidden, wide, vocab, tokens, elements; /* elements of an MLP matrix */
  qg_view x, y, z, o, weight, gate, up, logits, d_logits, product, matrix;
  float *rstd, *dweight, *lse, *update, *cos, *sin;
  qg_int8_store int8;
  qg_int4_store int4;
  qg_adam_args adam;
  int32_t *targets;
  double *loss;
} bench;

static void give_up(qg_status status)
{
  if (status == QG_OK) return;
  fprintf(stderr, "%s\n", qg_error_message());
  exit(status);
}

static void *take(bench *b, int64_t bytes)
{
  void *memory;
  give_up(b->be->ops->alloc(b->be, (size_t)bytes, &memory));
  return memory;
}

static qg_view matrix(bench *b, qg_dtype type, int64_t rows, int64_t cols)
{
  return qg_view_make(take(b, (int64_t)qg_dtype_bytes(type, rows * cols)), type, rows, cols);
}

static void take_state(bench *b)
{
  int64_t n = b->elements, groups = qg_group_count(n);
  b->update = take(b, 4 * n);
  b->int8 = (qg_int8_store){take(b, n), take(b, 4 * groups), take(b, groups)};
  b->int4 = (qg_int4_store){take(b, n / 2), take(b, 4 * groups), take(b, groups)};
  b->adam = (qg_adam_args){.grad = b->update,
                           .count = n,
                           .grad_scale = 1.0f,
                           .lr = 1e-3f,
                           .beta1 = 0.9f,
                           .beta2 = 0.95f,
                           .eps = 1e-8f,
                           .t = 1,
                           .m_codes = take(b, n),
                           .v_codes = take(b, n),
                           .m_absmax = take(b, 4 * groups),
                           .v_absmax = take(b, 4 * groups),
                           .block = QG_GROUP,
                           .delta = b->matrix.data,
                           .delta_type = QG_BF16};
}

static void take_memory(bench *b)
{
  b->x = matrix(b, QG_BF16, b->tokens, b->hidden);
  b->y = matrix(b, QG_BF16, b->tokens, b->hidden);
  b->z = matrix(b, QG_BF16, b->tokens, b->hidden);
  b->o = matrix(b, QG_BF16, b->tokens, b->hidden);
  b->weight = matrix(b, QG_BF16, 1, b->hidden);
  b->gate = matrix(b, QG_BF16, b->tokens, b->wide);
  b->up = matrix(b, QG_BF16, b->tokens, b->wide);
  b->product = matrix(b, QG_BF16, b->tokens, b->wide);
  b->matrix = matrix(b, QG_BF16, b->wide, b->hidden);
  b->logits = matrix(b, QG_F32, LOSS_ROWS, b->vocab);
  b->d_logits = matrix(b, QG_BF16, LOSS_ROWS, b->vocab);
  b->rstd = take(b, 4 * b->tokens);
  b->dweight = take(b, 4 * b->hidden);
  b->lse = take(b, 4 * b->tokens * b->hidden / HEAD_DIM);
  b->cos = take(b, 4 * SEQUENCE * HEAD_DIM);
  b->sin = take(b, 4 * SEQUENCE * HEAD_DIM);
  b->targets = take(b, 4 * LOSS_ROWS);
  b->loss = take(b, sizeof *b->loss);
  take_state(b);
  qg_workload workload = {b->tokens, SEQUENCE, b->hidden, b->wide, b->hidden / HEAD_DIM, b->hidden / HEAD_DIM,
                          b->vocab,  LOSS_ROWS};
  size_t bytes = b->be->ops->workspace_bytes(b->be, &workload);
  b->be->ops->set_workspace(b->be, take(b, (int64_t)bytes), bytes);
}

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
  qg_rope_args args = {b->x, b->cos, b->sin, SEQUENCE, b->hidden / HEAD_DIM, HEAD_DIM, false};
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

static qg_status dequantize_int8(bench *b)
{
  return b->be->ops->dequantize_int8(b->be, b->int8, b->elements, b->matrix.data, QG_BF16);
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

/* Bytes that have to move, or FLOPs that have to be done, for one call. Reads and writes both count. */
typedef struct {
  const char *name;
  qg_status (*run)(bench *b);
  double bytes, flops;
} kernel;

static double seconds_of(bench *b, const kernel *k)
{
  double begin = qg_now();
  for (int i = 0; i < REPEATS; i++) give_up(k->run(b));
  give_up(b->be->ops->sync(b->be));
  return (qg_now() - begin) / REPEATS;
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median_seconds(bench *b, const kernel *k)
{
  double seconds[ROUNDS];
  seconds_of(b, k); /* the first call looks for algorithms */
  for (int i = 0; i < ROUNDS; i++) seconds[i] = seconds_of(b, k);
  qsort(seconds, ROUNDS, sizeof *seconds, ascending);
  return seconds[ROUNDS / 2];
}

static void report(FILE *json, const kernel *k, double seconds, double copy_rate, double gemm_rate, bool last)
{
  bool moves = k->bytes > 0;
  double rate = (moves ? k->bytes : k->flops) / seconds, limit = moves ? copy_rate : gemm_rate;
  printf("%-20s %10.1f us %9.1f %s %6.1f %%\n", k->name, seconds * 1e6, rate * (moves ? 1e-9 : 1e-12),
         moves ? "GB/s   " : "TFLOP/s", 100.0 * rate / limit);
  if (json)
    fprintf(json, "  {\"kernel\": \"%s\", \"seconds\": %.9g, \"rate\": %.6g, \"of_limit\": %.4f}%s\n",
            k->name, seconds, rate, rate / limit, last ? "" : ",");
}

static void measure(bench *b, FILE *json)
{
  double x = 2.0 * (double)(b->tokens * b->hidden), wide = 2.0 * (double)(b->tokens * b->wide);
  double n = (double)b->elements, logits = (double)LOSS_ROWS * (double)b->vocab;
  double products = 2.0 * (double)b->tokens * n,
         scores = 4.0 * (double)b->tokens * SEQUENCE * (double)b->hidden / 2.0;
  const kernel kernels[] = {
      {"copy", copy, 2 * wide, 0},
      {"gemm x W^T", gemm, 0, products},
      {"gemm dy W", gemm_back, 0, products},
      {"attention", attention, 0, scores},
      {"attention backward", attention_backward, 0, 2.5 * scores},
      {"rmsnorm + add", rmsnorm, 4 * x, 0},
      {"rmsnorm backward", rmsnorm_backward, 3 * x, 0},
      {"rope", rope, 2 * x, 0},
      {"swiglu", swiglu, 3 * wide, 0},
      {"swiglu backward", swiglu_backward, 5 * wide, 0},
      {"cross-entropy", cross_entropy, 6 * logits, 0},
      {"dequantise int8", dequantize_int8, 3 * n, 0},
      {"dequantise int4", dequantize_int4, 2.5 * n, 0},
      {"update int8", update_int8, 6 * n, 0},
      {"adam 8 bit", adam, 10 * n, 0},
  };
  double seconds[QG_COUNT_OF(kernels)];
  for (int i = 0; i < QG_COUNT_OF(kernels); i++) seconds[i] = median_seconds(b, &kernels[i]);
  double copy_rate = kernels[0].bytes / seconds[0], gemm_rate = products / fmin(seconds[1], seconds[2]);
  for (int i = 0; i < QG_COUNT_OF(kernels); i++)
    report(json, &kernels[i], seconds[i], copy_rate, gemm_rate, i + 1 == QG_COUNT_OF(kernels));
}

int main(int argc, char **argv)
{
  bench b = {.be = open_cuda("bf16")};
  if (!b.be) return 77;
  b.hidden = argc > 1 ? atoi(argv[1]) : 4096;
  b.wide = b.hidden * 43 / 16; /* 11008 */
  b.vocab = b.hidden == 4096 ? 32000 : 1000;
  b.tokens = b.hidden == 4096 ? SEQUENCE * SEQUENCES : SEQUENCE;
  b.elements = b.wide * b.hidden;
  FILE *json = argc > 2 ? fopen(argv[2], "w") : NULL;
  take_memory(&b);
  printf("%s\nhidden size %lld, %lld tokens, median of %d; percent of the copy, or of the better GEMM\n",
         b.be->description, (long long)b.hidden, (long long)b.tokens, ROUNDS);
  if (json) fprintf(json, "[\n");
  measure(&b, json);
  if (json) fprintf(json, "]\n"), fclose(json);
  return 0;
}
