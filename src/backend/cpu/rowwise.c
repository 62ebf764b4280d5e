/* The operations that work row by row: rows are spread over threads, sums over rows run in fixed blocks. */
#include "backend/cpu/rowwise.h"

#include <omp.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "qgalore/base.h"

enum { SUM_BLOCKS = 256, NORM_BLOCK_ROWS = 64 };

/* A loss per row; a row of exponentials per thread, each from the beginning of a cache line. */
static size_t loss_row_floats(int64_t vocab)
{
  return (size_t)qg_ceil_div(qg_loss_scratch_floats(vocab), 16) * 16;
}

static size_t loss_bytes(int threads, int64_t rows, int64_t vocab)
{
  return (size_t)threads * loss_row_floats(vocab) * sizeof(float) + (size_t)rows * sizeof(double);
}

size_t qg_cpu_rowwise_workspace(int threads, const qg_workload *w)
{
  int64_t norm_blocks = qg_ceil_div(w->tokens, NORM_BLOCK_ROWS);
  size_t norm = (size_t)(norm_blocks * w->hidden_size) * sizeof(float);
  size_t loss = loss_bytes(threads, qg_max_i64(w->logit_chunk_tokens, w->tokens), w->vocab_size);
  return norm > loss ? norm : loss;
}

qg_status qg_cpu_convert(qg_backend *be, qg_view dst, qg_view src)
{
  const qg_row_kernels *bf16 = qg_cpu_rows(QG_BF16);
#pragma omp parallel for schedule(static) num_threads(be->threads)
  for (int64_t i = 0; i < src.rows; i++) {
    if (dst.type == src.type) memcpy(qg_row(dst, i), qg_row(src, i), qg_dtype_bytes(src.type, src.cols));
    else if (dst.type == QG_F32)
      bf16->to_float(qg_row(src, i), qg_row(dst, i), src.cols);
    else
      bf16->from_float(qg_row(src, i), qg_row(dst, i), src.cols);
  }
  return QG_OK;
}

qg_status qg_cpu_axpy(qg_backend *be, float alpha, qg_view src, qg_view dst)
{
  const qg_row_kernels *to = qg_cpu_rows(dst.type), *bf16 = qg_cpu_rows(QG_BF16);
#pragma omp parallel for schedule(static) num_threads(be->threads)
  for (int64_t i = 0; i < src.rows; i++) {
    if (src.type == dst.type) to->add(alpha, qg_row(src, i), qg_row(dst, i), src.cols);
    else if (dst.type == QG_F32)
      bf16->add_to_float(alpha, qg_row(src, i), qg_row(dst, i), src.cols);
    else
      bf16->add_from_float(alpha, qg_row(src, i), qg_row(dst, i), src.cols);
  }
  return QG_OK;
}

/* A dense view is one long row, cut into at most SUM_BLOCKS pieces; others are cut between rows. */
qg_status qg_cpu_sum_squares(qg_backend *be, qg_view src, double *out, qg_finite_guard *guard)
{
  const qg_row_kernels *kernels = qg_cpu_rows(src.type);
  if (src.stride == src.cols) src = qg_view_make(src.data, src.type, src.rows * src.cols, 1);
  bool dense = src.stride == src.cols;
  double partial[SUM_BLOCKS] = {0.0};
  int64_t block = qg_ceil_div(src.rows, SUM_BLOCKS);
#pragma omp parallel for schedule(static) num_threads(be->threads)
  for (int64_t b = 0; b < SUM_BLOCKS; b++) {
    int64_t first = b * block, last = qg_min_i64(first + block, src.rows);
    if (first >= last) continue;
    if (dense) partial[b] = kernels->sum_squares(qg_row(src, first), (last - first) * src.cols);
    else
      for (int64_t i = first; i < last; i++) partial[b] += kernels->sum_squares(qg_row(src, i), src.cols);
  }
  *out = 0.0;
  for (int b = 0; b < SUM_BLOCKS; b++) *out += partial[b];
  if (guard) qg_finite_guard_note(guard, *out);
  return QG_OK;
}

qg_status qg_cpu_embed(qg_backend *be, qg_view table, const int32_t *ids, qg_view out)
{
  const qg_row_kernels *bf16 = qg_cpu_rows(QG_BF16);
#pragma omp parallel for schedule(static) num_threads(be->threads)
  for (int64_t i = 0; i < out.rows; i++) {
    const void *from = qg_row(table, ids[i]);
    if (table.type == out.type) memcpy(qg_row(out, i), from, qg_dtype_bytes(out.type, out.cols));
    else if (out.type == QG_F32)
      bf16->to_float(from, qg_row(out, i), out.cols);
    else
      bf16->from_float(from, qg_row(out, i), out.cols);
  }
  return QG_OK;
}

/* Threads share out the columns: every thread walks all ids, so that rows add up in their order. */
qg_status qg_cpu_embed_backward(qg_backend *be, const int32_t *ids, qg_view d_out, qg_view grad)
{
  const qg_row_kernels *kernels = qg_cpu_rows(d_out.type);
  QG_CHECK(grad.type == QG_F32 || d_out.type == QG_BF16, QG_ERR_RUNTIME,
           "embed_backward: a %s gradient cannot take %s rows", qg_dtype_name(grad.type),
           qg_dtype_name(d_out.type));
  int64_t width = qg_ceil_div(d_out.cols, be->threads);
#pragma omp parallel for schedule(static) num_threads(be->threads)
  for (int64_t part = 0; part < be->threads; part++) {
    int64_t first = part * width, count = qg_min_i64(width, d_out.cols - first);
    if (count <= 0) continue;
    qg_view from = qg_view_cols(d_out, first, count), to = qg_view_cols(grad, first, count);
    for (int64_t i = 0; i < from.rows; i++)
      if (grad.type == QG_F32) kernels->add_to_float(1.0f, qg_row(from, i), qg_row(to, ids[i]), count);
      else
        kernels->add(1.0f, qg_row(from, i), qg_row(to, ids[i]), count);
  }
  return QG_OK;
}

qg_status qg_cpu_rmsnorm(qg_backend *be, const qg_rmsnorm_args *a)
{
  const qg_row_kernels *kernels = qg_cpu_rows(a->x.type);
  bool adds = a->add.data != NULL;
#pragma omp parallel for schedule(static) num_threads(be->threads)
  for (int64_t i = 0; i < a->x.rows; i++) {
    float rstd =
        kernels->rmsnorm(qg_row(a->x, i), adds ? qg_row(a->add, i) : NULL, adds ? qg_row(a->sum, i) : NULL,
                         a->weight.data, qg_row(a->y, i), a->x.cols, a->eps);
    if (a->rstd) a->rstd[i] = rstd;
  }
  return QG_OK;
}

qg_status qg_cpu_rmsnorm_backward(qg_backend *be, const qg_rmsnorm_backward_args *a)
{
  const qg_row_kernels *kernels = qg_cpu_rows(a->x.type);
  int64_t blocks = qg_ceil_div(a->x.rows, NORM_BLOCK_ROWS), cols = a->x.cols;
  void *scratch;
  QG_TRY(qg_cpu_scratch(be, (size_t)(blocks * cols) * sizeof(float), "RMSNorm backward", &scratch));
  float *partial = scratch;
#pragma omp parallel for schedule(static) num_threads(be->threads)
  for (int64_t b = 0; b < blocks; b++) {
    int64_t last = qg_min_i64((b + 1) * NORM_BLOCK_ROWS, a->x.rows);
    memset(partial + b * cols, 0, (size_t)cols * sizeof(float));
    for (int64_t i = b * NORM_BLOCK_ROWS; i < last; i++)
      kernels->rmsnorm_backward(qg_row(a->x, i), a->weight.data, qg_row(a->dy, i), qg_row(a->dx, i),
                                a->rstd[i], partial + b * cols, cols, a->accumulate);
  }
  if (!a->dweight) return QG_OK;
  const qg_row_kernels *floats = qg_cpu_rows(QG_F32);
  for (int64_t b = 0; b < blocks; b++) floats->add(1.0f, partial + b * cols, a->dweight, cols);
  return QG_OK;
}

qg_status qg_cpu_rope(qg_backend *be, const qg_rope_args *a)
{
  const qg_row_kernels *kernels = qg_cpu_rows(a->x.type);
  int64_t half = a->head_dim / 2;
#pragma omp parallel for schedule(static) num_threads(be->threads)
  for (int64_t i = 0; i < a->x.rows; i++) {
    int64_t angle = (a->position + i % a->sequence_length) * half;
    kernels->rope(qg_row(a->x, i), a->cos + angle, a->sin + angle, a->head_stride, a->heads, a->head_dim,
                  a->inverse ? -1.0f : 1.0f);
  }
  return QG_OK;
}

qg_status qg_cpu_swiglu(qg_backend *be, const qg_swiglu_args *a)
{
  const qg_row_kernels *kernels = qg_cpu_rows(a->gate.type);
#pragma omp parallel for schedule(static) num_threads(be->threads)
  for (int64_t i = 0; i < a->gate.rows; i++)
    kernels->swiglu(qg_row(a->gate, i), qg_row(a->up, i), qg_row(a->out, i), a->gate.cols);
  return QG_OK;
}

qg_status qg_cpu_swiglu_backward(qg_backend *be, const qg_swiglu_args *a)
{
  const qg_row_kernels *kernels = qg_cpu_rows(a->gate.type);
#pragma omp parallel for schedule(static) num_threads(be->threads)
  for (int64_t i = 0; i < a->gate.rows; i++)
    kernels->swiglu_backward(qg_row(a->gate, i), qg_row(a->up, i), qg_row(a->d_out, i), qg_row(a->d_gate, i),
                             qg_row(a->d_up, i), a->out.data ? qg_row(a->out, i) : NULL, a->gate.cols);
  return QG_OK;
}

qg_status qg_cpu_cross_entropy(qg_backend *be, const qg_cross_entropy_args *a)
{
  bool wants_gradient = a->d_logits.data != NULL;
  const qg_row_kernels *kernels = qg_cpu_rows(wants_gradient ? a->d_logits.type : QG_F32);
  size_t floats = loss_row_floats(a->logits.cols);
  void *scratch;
  QG_TRY(
      qg_cpu_scratch(be, loss_bytes(be->threads, a->logits.rows, a->logits.cols), "cross-entropy", &scratch));
  float *exponentials = scratch;
  double *loss = (double *)(exponentials + (size_t)be->threads * floats);
#pragma omp parallel for schedule(static) num_threads(be->threads)
  for (int64_t i = 0; i < a->logits.rows; i++)
    loss[i] = kernels->cross_entropy(qg_row(a->logits, i), wants_gradient ? qg_row(a->d_logits, i) : NULL,
                                     a->logits.cols, a->targets[i], a->grad_scale,
                                     exponentials + (size_t)omp_get_thread_num() * floats);
  for (int64_t i = 0; i < a->logits.rows; i++) *a->loss += loss[i];
  return QG_OK;
}
