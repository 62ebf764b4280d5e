/* The hot kernels of the CUDA backend at the shapes of LLaMA-7B, and what each has to move or to compute. */
#ifndef QG_TESTS_BENCH_KERNELS_H
#define QG_TESTS_BENCH_KERNELS_H

#include "qgalore/backend.h"

enum { SEQUENCE = 256, SEQUENCES = 16, HEAD_DIM = 128, LOSS_ROWS = 1024 };

typedef struct {
  qg_backend *be, *blocks, *fused;               /* be: the one of the two that works */
  int64_t hidden, wide, vocab, tokens, elements; /* elements of an MLP matrix */
  qg_view x, y, z, o, weight, gate, up, logits, d_logits, product, matrix, table, table_grad;
  float *rstd, *dweight, *lse, *update, *cos, *sin;
  qg_int8_store int8;
  qg_int4_store int4;
  qg_adam_args adam;
  int32_t *targets, *ids;
  double *loss;
} bench;

/* Bytes that have to move and FLOPs that have to be done for one call, whatever the route. Reads and writes
 * both count. */
typedef struct {
  const char *name;
  qg_status (*run)(bench *b);
  double bytes, flops;
  bool fused; /* by the backend with fused attention */
} kernel;

enum { BENCH_COPY, BENCH_GEMM, BENCH_GEMM_BACK, BENCH_KERNELS = 26 };

/* Ends the program with the message of what failed. */
void bench_give_up(qg_status status);

/* hidden 4096 is LLaMA-7B; smaller models keep its proportions. */
void bench_open(bench *b, int64_t hidden);

void bench_list(const bench *b, kernel kernels[BENCH_KERNELS]);

#endif
