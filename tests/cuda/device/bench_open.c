/* Backends and memory for the bench. */
#include <stdio.h>
#include <stdlib.h>

#include "bench_kernels.h"
#include "qgalore/base.h"
#include "support/fixtures/cuda_device.h"

void bench_give_up(qg_status status)
{
  if (status == QG_OK) return;
  fprintf(stderr, "%s\n", qg_error_message());
  exit(status);
}

static void *take(bench *b, int64_t bytes)
{
  void *memory;
  bench_give_up(b->be->ops->alloc(b->be, (size_t)bytes, &memory));
  return memory;
}

static qg_view matrix(bench *b, qg_dtype type, int64_t rows, int64_t cols)
{
  return qg_view_make(take(b, (int64_t)qg_dtype_bytes(type, rows * cols)), type, rows, cols);
}

/* Numbers in (-1, 1): a GPU multiplies zeros faster than numbers, for it then draws less power. */
static qg_view random_matrix(bench *b, int64_t rows, int64_t cols)
{
  qg_view view = matrix(b, QG_BF16, rows, cols);
  uint16_t *host = malloc(qg_dtype_bytes(QG_BF16, rows * cols));
  if (!host) bench_give_up(QG_FAIL(QG_ERR_RESOURCE, "no host memory"));
  uint32_t state = 1;
  for (int64_t i = 0; i < rows * cols; i++) {
    state = state * 1664525u + 1013904223u;
    host[i] = qg_bf16_from_float((float)(state >> 8) * 0x1p-23f - 1.0f);
  }
  bench_give_up(b->be->ops->copy_in(b->be, view.data, host, qg_dtype_bytes(QG_BF16, rows * cols)));
  free(host);
  return view;
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

/* Every token another id, as far as they go. */
static void take_ids(bench *b)
{
  size_t bytes = (size_t)b->tokens * sizeof(int32_t);
  int32_t *host = malloc(bytes);
  if (!host) bench_give_up(QG_FAIL(QG_ERR_RESOURCE, "no host memory"));
  for (int64_t i = 0; i < b->tokens; i++) host[i] = (int32_t)(i * 7919 % b->vocab);
  b->ids = take(b, (int64_t)bytes);
  bench_give_up(b->be->ops->copy_in(b->be, b->ids, host, bytes));
  free(host);
}

static void take_memory(bench *b)
{
  b->x = random_matrix(b, b->tokens, b->hidden);
  b->y = random_matrix(b, b->tokens, b->hidden);
  b->z = random_matrix(b, b->tokens, b->hidden);
  b->o = random_matrix(b, b->tokens, b->hidden);
  b->weight = matrix(b, QG_BF16, 1, b->hidden);
  b->gate = random_matrix(b, b->tokens, b->wide);
  b->up = matrix(b, QG_BF16, b->tokens, b->wide);
  b->product = matrix(b, QG_BF16, b->tokens, b->wide);
  b->matrix = random_matrix(b, b->wide, b->hidden);
  b->logits = matrix(b, QG_F32, LOSS_ROWS, b->vocab);
  b->d_logits = matrix(b, QG_BF16, LOSS_ROWS, b->vocab);
  b->rstd = take(b, 4 * b->tokens);
  b->dweight = take(b, 4 * b->hidden);
  b->lse = take(b, 4 * b->tokens * b->hidden / HEAD_DIM);
  b->cos = take(b, 4 * SEQUENCE * HEAD_DIM);
  b->sin = take(b, 4 * SEQUENCE * HEAD_DIM);
  b->targets = take(b, 4 * LOSS_ROWS);
  b->table = matrix(b, QG_BF16, b->vocab, b->hidden);
  b->table_grad = matrix(b, QG_F32, b->vocab, b->hidden);
  take_ids(b);
  b->loss = take(b, sizeof *b->loss);
  take_state(b);
}

static void reserve(bench *b, qg_backend *be)
{
  int64_t heads = b->hidden / HEAD_DIM;
  qg_workload workload = {.tokens = b->tokens,
                          .sequence_length = SEQUENCE,
                          .hidden_size = b->hidden,
                          .intermediate_size = b->wide,
                          .num_heads = heads,
                          .num_kv_heads = heads,
                          .vocab_size = b->vocab,
                          .logit_chunk_tokens = LOSS_ROWS};
  size_t bytes = be->ops->workspace_bytes(be, &workload);
  be->ops->set_workspace(be, take(b, (int64_t)bytes), bytes);
}

void bench_open(bench *b, int64_t hidden)
{
  *b = (bench){.blocks = open_cuda("bf16"), .fused = open_cuda_fused("bf16"), .hidden = hidden};
  if (!b->blocks || !b->fused) exit(77);
  b->be = b->blocks;
  b->wide = hidden * 43 / 16; /* 11008 */
  b->vocab = hidden == 4096 ? 32000 : 1000;
  b->tokens = hidden == 4096 ? SEQUENCE * SEQUENCES : SEQUENCE;
  b->elements = b->wide * hidden;
  take_memory(b);
  reserve(b, b->blocks);
  reserve(b, b->fused);
}
