/* Tokens per second of forward and backward of a LLaMA-60M, 8 x 256 tokens, with dense bf16 weights and dense
 * fp32 gradients, and where the time goes. The limit is one large GEMM of the same backend in the same run.
 * With one thread times are the processor's, else the wall's. Usage: bench_model [THREADS [PRECISION
 * [LOSS_ROWS [CHECKPOINTING [JSON_FILE]]]]]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/bench/timed_backend.h"
#include "support/fixtures/dense_port.h"

enum { ROUNDS = 5, SEQUENCES = 8, LENGTH = 256, TOKENS = SEQUENCES * LENGTH, LIMIT_SIZE = 2048 };

static const qg_model_shape llama_60m = {.hidden_size = 512,
                                         .intermediate_size = 1376,
                                         .num_layers = 8,
                                         .num_heads = 8,
                                         .num_kv_heads = 8,
                                         .vocab_size = 32000,
                                         .rope_theta = 10000,
                                         .rms_norm_eps = 1e-6};

typedef struct {
  int threads;
  const char *precision;
  int64_t logit_chunk_tokens;
  bool checkpointing;
  const char *json;
} settings;

typedef struct {
  const settings *set;
  qg_backend *real;
  timed_backend timed;
  qg_mem *mem;
  dense_port dense;
  qg_weight_reader weights;
  qg_gradient_port gradients;
  qg_stage *stage;
  int32_t *ids, *targets;
  double *loss;
  qg_view a, b, c; /* of the limiting GEMM; c is f32 */
  double seconds[ROUNDS], gemm_seconds[ROUNDS];
} bench;

/* Sums of four uniform numbers: near normal, standard deviation 0.02. */
static void random_weights(int tensor, float *values, int64_t count)
{
  qg_rng rng = {.seed = 1, .tensor = (uint32_t)tensor, .purpose = QG_RNG_INIT};
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; i++) {
    qg_rng_block block = qg_rng_draw(rng, (uint64_t)i);
    float sum = -2;
    for (int k = 0; k < 4; k++) sum += qg_rng_unit(block.v[k]);
    values[i] = 0.02f * sqrtf(3.0f) * sum;
  }
}

static qg_status fill_weights(bench *b)
{
  float *values;
  QG_TRY(qg_calloc((size_t)(llama_60m.vocab_size * llama_60m.hidden_size), sizeof *values, "weights",
                   (void **)&values));
  qg_status status = QG_OK;
  for (int id = 0; id < b->dense.count && status == QG_OK; id++) {
    qg_view weight = b->dense.weights[id];
    random_weights(id, values, weight.rows * weight.cols);
    if (weight.rows == 1)
      for (int64_t i = 0; i < weight.cols; i++) values[i] = 1;
    status = dense_port_set(&b->dense, id, values);
  }
  free(values);
  return status;
}

static qg_status fill_tokens(bench *b)
{
  int32_t ids[TOKENS + 1];
  qg_rng rng = {.seed = 1, .purpose = QG_RNG_SYNTHETIC};
  for (int i = 0; i <= TOKENS; i++)
    ids[i] = (int32_t)(qg_rng_unit_at(rng, (uint64_t)i) * (float)llama_60m.vocab_size);
  QG_TRY(b->real->ops->copy_in(b->real, b->ids, ids, TOKENS * sizeof *ids));
  return b->real->ops->copy_in(b->real, b->targets, ids + 1, TOKENS * sizeof *ids);
}

static qg_status take_memory(bench *b)
{
  qg_dtype type = b->real->compute;
  QG_TRY(qg_mem_alloc(b->mem, QG_OWNER_DATA, "ids", TOKENS * sizeof(int32_t), (void **)&b->ids));
  QG_TRY(qg_mem_alloc(b->mem, QG_OWNER_DATA, "targets", TOKENS * sizeof(int32_t), (void **)&b->targets));
  QG_TRY(qg_mem_alloc(b->mem, QG_OWNER_DATA, "loss", sizeof(double), (void **)&b->loss));
  QG_TRY(qg_mem_view(b->mem, QG_OWNER_DATA, "limit", type, LIMIT_SIZE, LIMIT_SIZE, &b->a));
  QG_TRY(qg_mem_view(b->mem, QG_OWNER_DATA, "limit", type, LIMIT_SIZE, LIMIT_SIZE, &b->b));
  return qg_mem_view(b->mem, QG_OWNER_DATA, "limit", QG_F32, LIMIT_SIZE, LIMIT_SIZE, &b->c);
}

static qg_status open_model(bench *b)
{
  const qg_model_shape *s = &llama_60m;
  qg_stage_options options = {.micro_batch = SEQUENCES,
                              .sequence_length = LENGTH,
                              .logit_chunk_tokens = b->set->logit_chunk_tokens,
                              .checkpointing = b->set->checkpointing,
                              .slots = 1};
  qg_workload workload = qg_stage_workload(s, &options);
  qg_partition whole;
  QG_TRY(qg_model_partition(s, LENGTH, 1, NULL, &whole));
  QG_TRY(qg_backend_reserve(b->mem, b->real, &workload));
  QG_TRY(qg_stage_create(b->mem, &b->timed.be, s, &whole, &options, &b->stage));
  return qg_stage_init(b->stage);
}

static qg_status bench_open(bench *b, const settings *set)
{
  qg_backend_request request = {.name = "cpu", .precision = set->precision, .threads = set->threads};
  *b = (bench){.set = set};
  QG_TRY(qg_backend_open(&request, &b->real));
  timed_backend_make(b->real, &b->timed);
  QG_TRY(qg_mem_create(b->real, &b->mem));
  QG_TRY(take_memory(b));
  QG_TRY(dense_port_open(b->mem, &b->timed.be, &llama_60m, false, &b->dense));
  b->weights = dense_port_reader(&b->dense);
  b->gradients = dense_port_gradients(&b->dense);
  QG_TRY(fill_weights(b));
  QG_TRY(fill_tokens(b));
  return open_model(b);
}

static void bench_close(bench *b)
{
  qg_stage_destroy(b->stage);
  dense_port_close(&b->dense);
  qg_mem_destroy(b->mem);
  if (b->real) qg_backend_close(b->real);
}

static qg_status step(bench *b)
{
  qg_view none;
  QG_TRY(qg_stage_forward(b->stage, &b->weights, 0, b->ids, &none));
  QG_TRY(qg_stage_loss(b->stage, &b->weights, &b->gradients, 0, b->targets, 1.0f / TOKENS, b->loss));
  QG_TRY(qg_stage_backward(b->stage, &b->weights, &b->gradients, 0, b->ids, none, &none));
  return b->real->ops->sync(b->real);
}

static qg_status limit(bench *b)
{
  qg_gemm_args gemm = {.a = b->a, .b = b->b, .c = b->c, .trans_b = true, .alpha = 1.0f};
  QG_TRY(b->real->ops->gemm(b->real, &gemm));
  return b->real->ops->sync(b->real);
}

static qg_status measure(bench *b)
{
  QG_TRY(step(b));
  QG_TRY(limit(b));
  timed_forget(&b->timed);
  for (int r = 0; r < ROUNDS; r++) {
    double start = bench_seconds(b->set->threads);
    QG_TRY(step(b));
    b->seconds[r] = bench_seconds(b->set->threads) - start;
    start = bench_seconds(b->set->threads);
    QG_TRY(limit(b));
    b->gemm_seconds[r] = bench_seconds(b->set->threads) - start;
  }
  return QG_OK;
}

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values)
{
  qsort(values, ROUNDS, sizeof *values, by_size);
  return values[ROUNDS / 2];
}

typedef struct {
  double tokens_per_second, slowest, fastest, limit_flops, model_flops;
} summary;

static summary summarise(bench *b)
{
  double seconds = median(b->seconds), gemm = median(b->gemm_seconds);
  return (summary){.tokens_per_second = TOKENS / seconds,
                   .slowest = TOKENS / b->seconds[ROUNDS - 1],
                   .fastest = TOKENS / b->seconds[0],
                   .limit_flops = 2.0 * LIMIT_SIZE * LIMIT_SIZE * LIMIT_SIZE / gemm,
                   .model_flops = qg_model_flops_per_token(&llama_60m, LENGTH) * TOKENS / seconds};
}

static void print_kind(const bench *b, int kind, double total, const summary *s)
{
  double seconds = b->timed.seconds[kind] / ROUNDS, flops = b->timed.flops[kind] / ROUNDS;
  printf("%-22s %7lld %9.4f %6.1f %%", timed_names[kind], (long long)(b->timed.calls[kind] / ROUNDS), seconds,
         100 * seconds / total);
  if (flops > 0) printf(" %9.1f %8.1f %%", flops / seconds * 1e-9, 100 * flops / seconds / s->limit_flops);
  printf("\n");
}

static void print_table(const bench *b, const summary *s)
{
  double total = 0, timed = 0;
  for (int r = 0; r < ROUNDS; r++) total += b->seconds[r] / ROUNDS;
  printf("%s\nLLaMA-60M, %d x %d tokens, %s, %d threads, %lld loss rows%s\n\n", b->real->description,
         SEQUENCES, LENGTH, b->set->precision, b->set->threads, (long long)b->set->logit_chunk_tokens,
         b->set->checkpointing ? ", checkpointing" : "");
  printf("%-22s %7s %9s %8s %9s %10s\n", "operation", "calls", "seconds", "share", "GFLOP/s", "of limit");
  for (int k = 0; k < TIMED_COUNT; k++) {
    print_kind(b, k, total, s);
    timed += b->timed.seconds[k] / ROUNDS;
  }
  printf("%-22s %7s %9.4f %6.1f %%\n\n", "outside", "", total - timed, 100 * (total - timed) / total);
  printf("%.0f tokens/s (%.0f to %.0f); %.1f GFLOP/s of the model, %.1f %% of the limit of %.1f GFLOP/s\n",
         s->tokens_per_second, s->slowest, s->fastest, s->model_flops * 1e-9,
         100 * s->model_flops / s->limit_flops, s->limit_flops * 1e-9);
}

static qg_status write_json(const bench *b, const summary *s)
{
  char text[4096];
  int used = snprintf(text, sizeof text,
                      "{\"bench\": \"model\", \"precision\": \"%s\", \"threads\": %d, \"loss_rows\": %lld, "
                      "\"checkpointing\": %s, \"tokens_per_second\": %.1f, \"model_gflops\": %.1f, "
                      "\"gemm_gflops\": %.1f, \"seconds\": {",
                      b->set->precision, b->set->threads, (long long)b->set->logit_chunk_tokens,
                      b->set->checkpointing ? "true" : "false", s->tokens_per_second, s->model_flops * 1e-9,
                      s->limit_flops * 1e-9);
  for (int k = 0; k < TIMED_COUNT; k++)
    used += snprintf(text + used, sizeof text - (size_t)used, "%s\"%s\": %.5f", k ? ", " : "", timed_names[k],
                     b->timed.seconds[k] / ROUNDS);
  used += snprintf(text + used, sizeof text - (size_t)used, "}}\n");
  return qg_write_file_atomic(b->set->json, text, (size_t)used);
}

static qg_status run(const settings *set)
{
  bench b;
  summary s;
  qg_status status = QG_OK;
  QG_TRY_OUT(bench_open(&b, set));
  QG_TRY_OUT(measure(&b));
  s = summarise(&b);
  print_table(&b, &s);
  if (set->json) QG_TRY_OUT(write_json(&b, &s));
out:
  bench_close(&b);
  return status;
}

int main(int argc, char **argv)
{
  settings set = {.threads = argc > 1 ? atoi(argv[1]) : 2,
                  .precision = argc > 2 ? argv[2] : "bf16",
                  .logit_chunk_tokens = argc > 3 ? atoll(argv[3]) : 512,
                  .checkpointing = argc > 4 && atoi(argv[4]) != 0,
                  .json = argc > 5 ? argv[5] : NULL};
  if (set.threads < 1 || set.logit_chunk_tokens < 1) {
    fprintf(stderr, "usage: bench_model [THREADS [PRECISION [LOSS_ROWS [CHECKPOINTING [JSON_FILE]]]]]\n");
    return QG_ERR_INPUT;
  }
  qg_status status = run(&set);
  if (status != QG_OK) fprintf(stderr, "bench_model: %s\n%s", qg_error_message(), qg_error_trace());
  return (int)status;
}
