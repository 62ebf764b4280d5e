/* The update of one LLaMA-7B layer, seven matrices at rank 1024: 8-bit Adam, project back, add to INT8
 * weights with stochastic rounding; compared with fp32 Adam, project back and bf16 weights in PyTorch.
 *
 *   bench_update [THREADS [ROUNDS [PEERS [JSON_FILE]]]]
 *
 * The limit is what the same run measures: the products of project back alone at their shapes, plus the bytes
 * of everything else at the rate of a copy. In each round all take one turn. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/bench/peer_process.h"
#include "support/bench/samples.h"
#include "support/bench/training.h"
#include "support/reference/quant_reference.h"

enum { MAX_ROUNDS = 50, COPY_BYTES = 256 << 20 };

typedef enum { UPDATE, PRODUCTS, COPY, TORCH, MEASURES } measure;

/* Bytes of a number of about 0.01, in bf16 and in fp32. */
enum { SMALL_NUMBERS = 0x3c };

/* What project back multiplies, in memory of its own. */
typedef struct {
  void *delta, *basis; /* the compute type: the largest R and the largest P */
  void *update;        /* f32: the rows that are updated at once */
} operands;

typedef struct {
  training t;
  int threads, rounds;
  int64_t step;
  operands operands;
  char *from, *to; /* [COPY_BYTES] */
  peer_process torch;
  bool has_torch;
  double seconds[MEASURES][MAX_ROUNDS];
} bench;

/* A matrix of the layer, and how it is projected. */
typedef struct {
  const qg_param *param;
  qg_sink_info sink;
} matrix;

/* False: the parameter is not projected. */
static bool find_matrix(const bench *b, int index, matrix *out)
{
  const qg_trainer *t = b->t.trainer;
  *out = (matrix){&t->params.params[index], qg_optim_sink_info(t->optim, index)};
  return out->sink.rank > 0;
}

static int64_t low_rank_elements(const matrix *m)
{
  return m->sink.gradient.rows * m->sink.gradient.cols;
}

static int64_t basis_elements(const matrix *m)
{
  return m->sink.rank * qg_min_i64(m->param->rows, m->param->cols);
}

/* Rows of about update_elements elements: all of a LLaMA-7B's end with whole groups. */
static int64_t rows_at_once(const bench *b, const matrix *m)
{
  return qg_max_i64(1, b->t.real->update_elements / m->param->cols);
}

static void fill(float *values, int64_t count, float scale, uint32_t tensor)
{
  qg_rng rng = {.seed = 1, .tensor = tensor, .purpose = QG_RNG_SYNTHETIC};
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; i++) values[i] = scale * (qg_rng_unit_at(rng, (uint64_t)i) - 0.5f);
}

/* Where the state of a parameter keeps GROUP/DATASET/FIELD. */
static qg_status find_state(const bench *b, const matrix *m, const char *group, const char *field, void *out)
{
  const qg_state_entry *entries;
  int count;
  char dataset[sizeof entries->dataset];
  snprintf(dataset, sizeof dataset, "%s/%s/%s", group, m->param->dataset, field);
  QG_TRY(qg_optim_state(b->t.trainer->optim, &entries, &count));
  for (int i = 0; i < count; i++)
    if (strcmp(entries[i].dataset, dataset) == 0 && entries[i].item == m->param->layer) {
      *(void **)out = entries[i].data;
      return QG_OK;
    }
  return QG_FAIL(QG_ERR_RUNTIME, "no %s in the state", dataset);
}

static qg_status store_projector(const bench *b, const matrix *m, uint32_t tensor)
{
  float *basis;
  qg_int4_store packed;
  int64_t elements = basis_elements(m);
  QG_TRY(find_state(b, m, "projector", "codes", &packed.codes));
  QG_TRY(find_state(b, m, "projector", "scale", &packed.scale));
  QG_TRY(find_state(b, m, "projector", "zero", &packed.zero));
  QG_TRY(qg_calloc((size_t)elements, sizeof *basis, "a projector", (void **)&basis));
  fill(basis, elements, 0.05f, tensor);
  ref_quantize_int4(basis, elements, b->t.config.qgalore.include_zero, packed);
  free(basis);
  return QG_OK;
}

/* Projectors as large as orthonormal ones, gradients as large as those of a mean loss; no subspace is due. */
static qg_status fill_layer(bench *b)
{
  int count = b->t.trainer->params.count;
  for (int i = 0; i < count; i++) {
    matrix m;
    int64_t *last_refresh;
    if (!find_matrix(b, i, &m)) continue;
    QG_TRY(store_projector(b, &m, (uint32_t)i));
    fill(m.sink.gradient.data, low_rank_elements(&m), 1e-3f, (uint32_t)(i + count));
    QG_TRY(find_state(b, &m, "tracker", "last_refresh", &last_refresh));
    *last_refresh = 0;
  }
  return QG_OK;
}

static qg_status take_operands(bench *b)
{
  int64_t delta = 0, basis = 0, update = 0;
  for (int i = 0; i < b->t.trainer->params.count; i++) {
    matrix m;
    if (!find_matrix(b, i, &m)) continue;
    delta = qg_max_i64(delta, low_rank_elements(&m));
    basis = qg_max_i64(basis, basis_elements(&m));
    update = qg_max_i64(update, rows_at_once(b, &m) * m.param->cols);
  }
  qg_dtype compute = b->t.real->compute;
  QG_TRY(qg_mem_alloc(b->t.mem, QG_OWNER_DATA, "R", qg_dtype_bytes(compute, delta), &b->operands.delta));
  QG_TRY(qg_mem_alloc(b->t.mem, QG_OWNER_DATA, "P", qg_dtype_bytes(compute, basis), &b->operands.basis));
  QG_TRY(
      qg_mem_alloc(b->t.mem, QG_OWNER_DATA, "update", qg_dtype_bytes(QG_F32, update), &b->operands.update));
  memset(b->operands.delta, SMALL_NUMBERS, qg_dtype_bytes(compute, delta));
  memset(b->operands.basis, SMALL_NUMBERS, qg_dtype_bytes(compute, basis));
  return QG_OK;
}

static qg_status run_update(bench *b)
{
  return qg_optim_apply(b->t.trainer->optim, 1e-3, 1.0);
}

/* R P or P R, in the pieces of qg_optim_apply. */
static qg_status products_of(const bench *b, const matrix *m)
{
  qg_backend *be = b->t.trainer->be;
  int64_t step = rows_at_once(b, m), rows = m->param->rows, cols = m->param->cols, rank = m->sink.rank;
  bool right = m->sink.side == QG_SIDE_RIGHT;
  qg_view gradient = m->sink.gradient;
  qg_view delta = qg_view_make(b->operands.delta, be->compute, gradient.rows, gradient.cols);
  qg_view basis = qg_view_make(b->operands.basis, be->compute, right ? rank : rows, right ? cols : rank);
  for (int64_t first = 0; first < rows; first += step) {
    int64_t count = qg_min_i64(step, rows - first);
    qg_gemm_args gemm = {.a = qg_view_rows(right ? delta : basis, first, count),
                         .b = right ? basis : delta,
                         .c = qg_view_make(b->operands.update, QG_F32, count, cols),
                         .alpha = 1};
    QG_TRY(be->ops->gemm(be, &gemm));
  }
  return QG_OK;
}

static qg_status run_products(bench *b)
{
  for (int i = 0; i < b->t.trainer->params.count; i++) {
    matrix m;
    if (find_matrix(b, i, &m)) QG_TRY(products_of(b, &m));
  }
  return QG_OK;
}

static qg_status run_copy(bench *b)
{
#pragma omp parallel num_threads(b->t.real->threads)
  {
    size_t piece = COPY_BYTES / (size_t)omp_get_num_threads(), first = piece * (size_t)omp_get_thread_num();
    memcpy(b->to + first, b->from + first, piece);
  }
  return QG_OK;
}

/* A gradient of 4 bytes, two moment codes read and written and a delta of 2 bytes for each element of R;
 * codes read and written for each weight; half a byte read for each element of P. What stays in the caches
 * between two operations is not counted. */
static double bytes_of_update(const bench *b)
{
  double bytes = 0;
  for (int i = 0; i < b->t.trainer->params.count; i++) {
    matrix m;
    if (find_matrix(b, i, &m))
      bytes += 10.0 * (double)low_rank_elements(&m) + 2.0 * (double)qg_param_elements(m.param) +
               0.5 * (double)basis_elements(&m);
  }
  return bytes;
}

static double flops_of_products(const bench *b)
{
  double flops = 0;
  for (int i = 0; i < b->t.trainer->params.count; i++) {
    matrix m;
    if (find_matrix(b, i, &m)) flops += 2.0 * (double)qg_param_elements(m.param) * (double)m.sink.rank;
  }
  return flops;
}

/* Round -1 warms up. */
static qg_status race(bench *b)
{
  static qg_status (*const runs[])(bench *) = {
      [UPDATE] = run_update, [PRODUCTS] = run_products, [COPY] = run_copy};
  for (int round = -1; round < b->rounds; round++) {
    int at = round < 0 ? 0 : round;
    QG_TRY(qg_optim_begin(b->t.trainer->optim, ++b->step));
    for (int kind = UPDATE; kind <= COPY; kind++) {
      double start = qg_now();
      QG_TRY(runs[kind](b));
      b->seconds[kind][at] = qg_now() - start;
    }
    if (b->has_torch) QG_TRY(peer_ask(&b->torch, "step", &b->seconds[TORCH][at], 1));
  }
  return QG_OK;
}

typedef struct {
  double update, limit, products, memory; /* seconds, medians */
  double of_limit, times_torch;           /* medians over rounds */
} summary;

static summary summarise(bench *b)
{
  double limits[MAX_ROUNDS], memory[MAX_ROUNDS], shares[MAX_ROUNDS], ratios[MAX_ROUNDS];
  double bytes = bytes_of_update(b);
  for (int i = 0; i < b->rounds; i++) {
    memory[i] = bytes / (2.0 * COPY_BYTES) * b->seconds[COPY][i];
    limits[i] = memory[i] + b->seconds[PRODUCTS][i];
    shares[i] = limits[i] / b->seconds[UPDATE][i];
    ratios[i] = b->seconds[TORCH][i] / b->seconds[UPDATE][i];
  }
  return (summary){.of_limit = samples_median(shares, b->rounds),
                   .times_torch = samples_median(ratios, b->rounds),
                   .limit = samples_median(limits, b->rounds),
                   .memory = samples_median(memory, b->rounds),
                   .update = samples_median(b->seconds[UPDATE], b->rounds),
                   .products = samples_median(b->seconds[PRODUCTS], b->rounds)};
}

static qg_status report(const bench *b, const summary *s, const char *json)
{
  double flops = flops_of_products(b), bytes = bytes_of_update(b);
  printf("update of a LLaMA-7B layer, rank 1024: %.0f ms\n", 1e3 * s->update);
  printf(
      "limit %.0f ms = %.1f GFLOP of products %.0f ms + %.0f MB at the rate of a copy %.0f ms: %.0f %% of "
      "it\n",
      1e3 * s->limit, 1e-9 * flops, 1e3 * s->products, 1e-6 * bytes, 1e3 * s->memory, 100 * s->of_limit);
  if (b->has_torch)
    printf("PyTorch, fp32 Adam, projection and bf16 weights: %.2f times as long\n", s->times_torch);
  else
    printf("no PyTorch: its row is left out (make bench-peers)\n");
  if (!json) return QG_OK;
  char text[512];
  int length = snprintf(
      text, sizeof text,
      "{\"bench\": \"update\", \"seconds\": %.5f, \"limit_seconds\": %.5f, \"share_of_limit\": %.4f, "
      "\"flops\": %.0f, \"bytes\": %.0f, \"times_torch\": %.3f}\n",
      s->update, s->limit, s->of_limit, flops, bytes, s->times_torch);
  return qg_write_file_atomic(json, text, (size_t)length);
}

static qg_status start_torch(bench *b, const char *venv)
{
  char python[4200], threads[16];
  snprintf(python, sizeof python, "%s/bin/python", venv);
  snprintf(threads, sizeof threads, "%d", b->threads);
  const char *argv[] = {python, "tests/bench/peers/peer_update.py", threads, NULL};
  b->has_torch = access(python, X_OK) == 0;
  return b->has_torch ? peer_start(argv, peer_tuned_torch, NULL, 0, &b->torch) : QG_OK;
}

static qg_status run(bench *b, int argc, char **argv)
{
  char threads[64];
  snprintf(threads, sizeof threads, "backend.threads=%d", b->threads);
  const char *const overrides[] = {threads,
                                   "model.num_layers=1",
                                   "model.vocab_size=256",
                                   "data.train=random:2000",
                                   "data.valid=",
                                   "train.validate_every=0",
                                   "train.global_batch=1",
                                   "train.micro_batch=1",
                                   "train.update=accumulated",
                                   "train.accumulators=fp32",
                                   "optimizer.warmup_steps=1"};
  QG_TRY(training_open("inputs/llama7b.in", QG_COUNT_OF(overrides), overrides, &b->t));
  QG_TRY(fill_layer(b));
  QG_TRY(take_operands(b));
  QG_TRY(qg_calloc(COPY_BYTES, 1, "the copy", (void **)&b->from));
  QG_TRY(qg_calloc(COPY_BYTES, 1, "the copy", (void **)&b->to));
  QG_TRY(start_torch(b, argc > 3 ? argv[3] : "build/peers"));
  QG_TRY(race(b));
  summary s = summarise(b);
  return report(b, &s, argc > 4 ? argv[4] : NULL);
}

int main(int argc, char **argv)
{
  static bench b;
  b.threads = argc > 1 ? atoi(argv[1]) : 2;
  b.rounds = argc > 2 ? atoi(argv[2]) : 5;
  if (b.threads < 1 || b.rounds < 1 || b.rounds > MAX_ROUNDS) {
    fprintf(stderr, "usage: bench_update [THREADS [ROUNDS (up to %d) [PEERS [JSON_FILE]]]]\n", MAX_ROUNDS);
    return QG_ERR_INPUT;
  }
  qg_status status = run(&b, argc, argv);
  if (status != QG_OK) fprintf(stderr, "bench_update: %s\n%s", qg_error_message(), qg_error_trace());
  peer_quit(&b.torch, NULL);
  free(b.from);
  free(b.to);
  training_close(&b.t);
  return (int)status;
}
