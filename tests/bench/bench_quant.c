/* Memory throughput of the quantised-state operations against the copy bandwidth of the same run.
 * Usage: bench_quant [THREADS [MILLION_ELEMENTS [JSON_FILE]]]
 * Each round times every operation once, so that all see the same machine; the table shows medians of ROUNDS.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/backend.h"
#include "qgalore/base.h"

enum { ROUNDS = 5 };

/* Everything the operations read and write; host memory of the CPU backend. */
typedef struct {
  qg_backend *be;
  int64_t count;
  float *values, *update, *floats;
  uint16_t *halves;
  qg_int8_store int8;
  qg_int4_store int4;
  uint8_t *m_codes, *v_codes;
  float *m_absmax, *v_absmax, *m, *v;
  int64_t step;
} bench;

static qg_status take(bench *b, int64_t bytes, void *out)
{
  return b->be->ops->alloc(b->be, (size_t)bytes, out);
}

static qg_status take_memory(bench *b)
{
  int64_t n = b->count, groups = qg_group_count(n);
  QG_TRY(take(b, 4 * n, &b->values));
  QG_TRY(take(b, 4 * n, &b->update));
  QG_TRY(take(b, 4 * n, &b->floats));
  QG_TRY(take(b, 2 * n, &b->halves));
  QG_TRY(take(b, n, &b->int8.codes));
  QG_TRY(take(b, 4 * groups, &b->int8.scale));
  QG_TRY(take(b, groups, &b->int8.zero));
  QG_TRY(take(b, n / 2, &b->int4.codes));
  QG_TRY(take(b, 4 * groups, &b->int4.scale));
  QG_TRY(take(b, groups, &b->int4.zero));
  QG_TRY(take(b, n, &b->m_codes));
  QG_TRY(take(b, n, &b->v_codes));
  QG_TRY(take(b, 4 * groups, &b->m_absmax));
  QG_TRY(take(b, 4 * groups, &b->v_absmax));
  QG_TRY(take(b, 4 * n, &b->m));
  return take(b, 4 * n, &b->v);
}

/* Sums of four uniform numbers, near enough to normal, with the spread of LLaMA weights and of a gradient. */
static void fill_values(bench *b)
{
  qg_rng rng = {.seed = 1, .purpose = QG_RNG_SYNTHETIC};
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < b->count; i++) {
    qg_rng_block block = qg_rng_draw(rng, (uint64_t)i);
    float sum = 0.0f;
    for (int k = 0; k < 4; k++) sum += qg_rng_unit(block.v[k]) - 0.5f;
    b->values[i] = 0.035f * sum;
    b->update[i] = 1e-4f * sum;
  }
}

static qg_status copy(bench *b)
{
#pragma omp parallel num_threads(b->be->threads)
  {
    int64_t t = omp_get_thread_num(), threads = omp_get_num_threads();
    int64_t low = b->count * t / threads, high = b->count * (t + 1) / threads;
    memcpy(b->floats + low, b->values + low, 4 * (size_t)(high - low));
  }
  return QG_OK;
}

static const qg_int8_rule rule_stochastic = {.include_zero = true, .stochastic = true};

static qg_status quantize_int8(bench *b)
{
  return b->be->ops->quantize_int8(b->be, b->values, b->count, rule_stochastic, b->int8);
}
static qg_status dequantize_int8_f32(bench *b)
{
  return b->be->ops->dequantize_int8(b->be, b->int8, qg_view_make(b->floats, QG_F32, 1, b->count));
}
static qg_status dequantize_int8_bf16(bench *b)
{
  return b->be->ops->dequantize_int8(b->be, b->int8, qg_view_make(b->halves, QG_BF16, 1, b->count));
}
static qg_status quantize_int4(bench *b)
{
  return b->be->ops->quantize_int4(b->be, b->values, b->count, true, b->int4);
}
static qg_status dequantize_int4_bf16(bench *b)
{
  return b->be->ops->dequantize_int4(b->be, b->int4, b->count, b->halves, QG_BF16);
}

static qg_status update_int8_with(bench *b, bool stochastic)
{
  qg_update_int8_args args = {.store = b->int8,
                              .count = b->count,
                              .update = b->update,
                              .rule = {.include_zero = true, .stochastic = stochastic},
                              .rng = {.seed = 1, .step = (uint64_t)b->step, .purpose = QG_RNG_ROUND}};
  return b->be->ops->update_int8(b->be, &args);
}
static qg_status update_int8_nearest(bench *b)
{
  return update_int8_with(b, false);
}
static qg_status update_int8_stochastic(bench *b)
{
  return update_int8_with(b, true);
}

static qg_status update_dense_bf16(bench *b)
{
  qg_update_dense_args args = {.weights = b->halves,
                               .type = QG_BF16,
                               .count = b->count,
                               .update = b->update,
                               .stochastic = true,
                               .rng = {.seed = 1, .step = (uint64_t)b->step, .purpose = QG_RNG_ROUND}};
  return b->be->ops->update_dense(b->be, &args);
}

static qg_adam_args adam_args(bench *b)
{
  qg_adam_args args = {.grad = b->update,
                       .count = b->count,
                       .grad_scale = 1.0f,
                       .lr = 1e-2f,
                       .beta1 = 0.9f,
                       .beta2 = 0.95f,
                       .eps = 1e-8f,
                       .t = ++b->step,
                       .delta = b->floats,
                       .delta_type = QG_F32};
  return args;
}
static qg_status adam_f32(bench *b)
{
  qg_adam_args args = adam_args(b);
  args.m = b->m;
  args.v = b->v;
  return b->be->ops->adam(b->be, &args);
}
static qg_status adam_8bit_with(bench *b, int64_t block)
{
  qg_adam_args args = adam_args(b);
  args.m_codes = b->m_codes;
  args.v_codes = b->v_codes;
  args.m_absmax = b->m_absmax;
  args.v_absmax = b->v_absmax;
  args.block = block;
  return b->be->ops->adam(b->be, &args);
}
static qg_status adam_8bit_256(bench *b)
{
  return adam_8bit_with(b, 256);
}
static qg_status adam_8bit_2048(bench *b)
{
  return adam_8bit_with(b, 2048);
}

/* Bytes read plus bytes written for one element, the 5 bytes a group for scale and zero left out. */
typedef struct {
  const char *name;
  qg_status (*run)(bench *b);
  double bytes;
} operation;

static const operation operations[] = {
    {"copy", copy, 8},
    {"quantize_int8", quantize_int8, 5},
    {"dequantize_int8_f32", dequantize_int8_f32, 5},
    {"dequantize_int8_bf16", dequantize_int8_bf16, 3},
    {"quantize_int4", quantize_int4, 4.5},
    {"dequantize_int4_bf16", dequantize_int4_bf16, 2.5},
    {"update_int8_nearest", update_int8_nearest, 6},
    {"update_int8_stochastic", update_int8_stochastic, 6},
    {"update_dense_bf16", update_dense_bf16, 8},
    {"adam_f32", adam_f32, 24},
    {"adam_8bit_256", adam_8bit_256, 12},
    {"adam_8bit_2048", adam_8bit_2048, 12},
};
enum { OPERATIONS = QG_COUNT_OF(operations) };

static int compare_doubles(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Round -1 warms up. */
static qg_status measure(bench *b, double seconds[OPERATIONS][ROUNDS])
{
  for (int round = -1; round < ROUNDS; round++)
    for (int k = 0; k < OPERATIONS; k++) {
      double start = qg_now();
      QG_TRY(operations[k].run(b));
      if (round >= 0) seconds[k][round] = qg_now() - start;
    }
  for (int k = 0; k < OPERATIONS; k++) qsort(seconds[k], ROUNDS, sizeof seconds[k][0], compare_doubles);
  return QG_OK;
}

static void print_table(const bench *b, double seconds[OPERATIONS][ROUNDS])
{
  printf("%s, %d threads, %lld elements, median of %d\n", b->be->description, b->be->threads,
         (long long)b->count, ROUNDS);
  printf("%-24s %8s %10s %8s %10s\n", "operation", "GB/s", "of copy", "ns/elem", "spread");
  double copy_rate = operations[0].bytes / seconds[0][ROUNDS / 2];
  for (int k = 0; k < OPERATIONS; k++) {
    double median = seconds[k][ROUNDS / 2], rate = operations[k].bytes / median;
    printf("%-24s %8.2f %9.0f%% %8.3f %9.0f%%\n", operations[k].name, 1e-9 * rate * (double)b->count,
           100.0 * rate / copy_rate, 1e9 * median / (double)b->count,
           100.0 * (seconds[k][ROUNDS - 1] - seconds[k][0]) / median);
  }
}

static qg_status write_json(const bench *b, double seconds[OPERATIONS][ROUNDS], const char *path)
{
  FILE *file = fopen(path, "w");
  QG_CHECK(file, QG_ERR_RESOURCE, "cannot write %s: choose a writable path", path);
  fprintf(file, "{\"bench\": \"quant\", \"threads\": %d, \"elements\": %lld, \"operations\": {",
          b->be->threads, (long long)b->count);
  for (int k = 0; k < OPERATIONS; k++)
    fprintf(file, "%s\n  \"%s\": {\"gb_per_s\": %.3f}", k ? "," : "", operations[k].name,
            1e-9 * operations[k].bytes * (double)b->count / seconds[k][ROUNDS / 2]);
  fprintf(file, "\n}}\n");
  QG_CHECK(fclose(file) == 0, QG_ERR_RESOURCE, "cannot finish %s: is the disk full?", path);
  return QG_OK;
}

static qg_status run(int threads, int64_t count, const char *json)
{
  static double seconds[OPERATIONS][ROUNDS];
  qg_backend_request request = {.name = "cpu", .precision = "fp32", .threads = threads};
  bench b = {.count = count};
  QG_TRY(qg_backend_open(&request, &b.be));
  QG_TRY(take_memory(&b));
  fill_values(&b);
  QG_TRY(measure(&b, seconds));
  print_table(&b, seconds);
  return json ? write_json(&b, seconds, json) : QG_OK;
}

int main(int argc, char **argv)
{
  int threads = argc > 1 ? atoi(argv[1]) : omp_get_max_threads();
  int64_t millions = argc > 2 ? atoll(argv[2]) : 16;
  if (threads < 1 || millions < 1) {
    fprintf(stderr, "usage: bench_quant [THREADS [MILLION_ELEMENTS [JSON_FILE]]]\n");
    return QG_ERR_INPUT;
  }
  qg_status status = run(threads, millions << 20, argc > 3 ? argv[3] : NULL);
  if (status != QG_OK) fprintf(stderr, "bench_quant: %s\n", qg_error_message());
  return status;
}
