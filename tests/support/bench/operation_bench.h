/* Measuring single operations of a backend: operands from one pool, a table and JSON of the results. */
#ifndef QG_TESTS_OPERATION_BENCH_H
#define QG_TESTS_OPERATION_BENCH_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "qgalore/backend.h"
#include "qgalore/base.h"
#include "support/bench/bench_clock.h"
#include "support/bench/onednn_gemm.h"

enum { REPEATS = 5, MOST_ROWS = 64 };

typedef struct {
  char name[48];
  bool gemm; /* work counts FLOPs, else bytes */
  double work, median, fastest, slowest;
  double onednn; /* median seconds, 0 if it was not asked */
} row;

typedef struct {
  qg_backend *be;
  char *pool; /* operands, all at fixed places */
  size_t used, pool_bytes;
  onednn_state onednn;
  row rows[MOST_ROWS];
  int count;
} bench;

typedef qg_status operation(bench *b, const void *args);

static inline void give_up(qg_status status)
{
  if (status == QG_OK) return;
  fprintf(stderr, "%s\n", qg_error_message());
  exit((int)status);
}

static inline int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static inline double seconds_of(bench *b, operation *run, const void *args)
{
  double start = bench_seconds(b->be->threads);
  give_up(run(b, args));
  give_up(b->be->ops->sync(b->be));
  return bench_seconds(b->be->threads) - start;
}

static inline double median_of(double *seconds)
{
  qsort(seconds, REPEATS, sizeof seconds[0], ascending);
  return seconds[REPEATS / 2];
}

/* `reference` does the same work in another way, in turns with `run`; or NULL. */
static inline void measure_against(bench *b, const char *name, bool gemm, double work, operation *run,
                                   operation *reference, const void *args)
{
  double seconds[REPEATS], others[REPEATS] = {0};
  if (b->count == MOST_ROWS) give_up(QG_FAIL(QG_ERR_RUNTIME, "the bench's table is too small"));
  give_up(run(b, args));
  if (reference) give_up(reference(b, args));
  for (int i = 0; i < REPEATS; i++) {
    seconds[i] = seconds_of(b, run, args);
    if (reference) others[i] = seconds_of(b, reference, args);
  }
  row *r = &b->rows[b->count++];
  *r = (row){.gemm = gemm, .work = work, .median = median_of(seconds), .onednn = median_of(others)};
  r->fastest = seconds[0];
  r->slowest = seconds[REPEATS - 1];
  snprintf(r->name, sizeof r->name, "%s", name);
}

static inline void measure(bench *b, const char *name, bool gemm, double work, operation *run,
                           const void *args)
{
  measure_against(b, name, gemm, work, run, NULL, args);
}

/* A dense matrix in the pool; the pool starts over with every group of measurements. */
static inline qg_view take(bench *b, qg_dtype type, int64_t rows, int64_t cols)
{
  size_t bytes = (qg_dtype_bytes(type, rows * cols) + 63) / 64 * 64;
  if (b->used + bytes > b->pool_bytes) give_up(QG_FAIL(QG_ERR_RUNTIME, "the bench's pool is too small"));
  qg_view view = qg_view_make(b->pool + b->used, type, rows, cols);
  b->used += bytes;
  return view;
}

/* Small values, so that repeated accumulation stays finite. */
static inline void fill(bench *b, qg_view view)
{
  float *host = malloc((size_t)(view.rows * view.cols) * sizeof *host);
  if (!host) give_up(QG_FAIL(QG_ERR_RESOURCE, "no memory for the bench's data"));
  for (int64_t i = 0; i < view.rows * view.cols; i++) host[i] = (float)(i * 7919 % 1021 - 510) * 1e-3f;
  if (view.type == QG_F32)
    give_up(b->be->ops->copy_in(b->be, view.data, host, qg_dtype_bytes(QG_F32, view.rows * view.cols)));
  else {
    for (int64_t i = 0; i < view.rows * view.cols; i++) ((uint16_t *)host)[i] = qg_bf16_from_float(host[i]);
    give_up(b->be->ops->copy_in(b->be, view.data, host, qg_dtype_bytes(QG_BF16, view.rows * view.cols)));
  }
  free(host);
}

static inline qg_view filled(bench *b, qg_dtype type, int64_t rows, int64_t cols)
{
  qg_view view = take(b, type, rows, cols);
  fill(b, view);
  return view;
}

static inline double best_rate(const bench *b, bool gemm)
{
  double best = 0.0;
  for (int i = 0; i < b->count; i++)
    if (b->rows[i].gemm == gemm && (gemm || i == 0)) best = fmax(best, b->rows[i].work / b->rows[i].median);
  return best;
}

static inline void print_row(const row *r, double limit)
{
  char ratio[16] = "-";
  if (r->onednn > 0.0) snprintf(ratio, sizeof ratio, "%.2f", r->onednn / r->median);
  printf("%-34s %10.1f %7.0f%% %10s %10.3f [%.3f, %.3f]\n", r->name, r->work / r->median * 1e-9,
         100.0 * r->work / r->median / limit, ratio, r->median * 1e3, r->fastest * 1e3, r->slowest * 1e3);
}

static inline void print_json(const bench *b, const row *r, double limit)
{
  printf(
      "{\"bench\": \"backend\", \"op\": \"%s\", \"precision\": \"%s\", \"threads\": %d, \"unit\": \"%s\", "
      "\"rate\": %.4g, \"fraction\": %.4f, \"seconds\": %.6g",
      r->name, qg_dtype_name(b->be->compute), b->be->threads, r->gemm ? "flop/s" : "byte/s",
      r->work / r->median, r->work / r->median / limit, r->median);
  if (r->onednn > 0.0) printf(", \"onednn_seconds\": %.6g", r->onednn);
  printf("}\n");
}

static inline void print_table(const bench *b)
{
  double limit[2] = {best_rate(b, false), best_rate(b, true)};
  printf("%s\nlimits: best GEMM %.0f GFLOP/s, copy %.1f GB/s; median of %d, spread in brackets\n\n",
         b->be->description, limit[1] * 1e-9, limit[0] * 1e-9, REPEATS);
  printf("%-34s %10s %8s %10s %10s\n", "operation", "G/s", "of limit", "of oneDNN", "ms");
  for (int i = 0; i < b->count; i++) print_row(&b->rows[i], limit[b->rows[i].gemm]);
  for (int i = 0; i < b->count; i++) print_json(b, &b->rows[i], limit[b->rows[i].gemm]);
}

#endif
