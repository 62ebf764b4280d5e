/* How near the hot kernels of the CUDA backend come to the least time that the device allows: what they have
 * to move over the bandwidth of a copy, or what they have to compute over the rate of the better GEMM,
 * whichever takes longer; all of one run. Usage: bench_cuda [HIDDEN [JSON_FILE]]. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench_kernels.h"
#include "qgalore/base.h"

enum { ROUNDS = 7, REPEATS = 10 };

static double seconds_of(bench *b, const kernel *k)
{
  b->be = k->fused ? b->fused : b->blocks;
  double begin = qg_now();
  for (int i = 0; i < REPEATS; i++) bench_give_up(k->run(b));
  bench_give_up(b->be->ops->sync(b->be));
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

/* What one run found the device to reach. */
typedef struct {
  double bytes, flops; /* a second */
} limits;

static void report(FILE *json, const kernel *k, double seconds, limits most, bool last)
{
  double moves = k->bytes / most.bytes, computes = k->flops / most.flops, limit = fmax(moves, computes);
  printf("%-18s %10.1f us %8.1f GB/s %7.1f TFLOP/s %6.1f %% of %s\n", k->name, seconds * 1e6,
         k->bytes / seconds * 1e-9, k->flops / seconds * 1e-12, 100.0 * limit / seconds,
         moves > computes ? "copy" : "GEMM");
  if (json)
    fprintf(
        json,
        "  {\"kernel\": \"%s\", \"seconds\": %.9g, \"bytes\": %.6g, \"flops\": %.6g, \"of_limit\": %.4f}%s\n",
        k->name, seconds, k->bytes, k->flops, limit / seconds, last ? "" : ",");
}

static void measure(bench *b, FILE *json)
{
  kernel kernels[BENCH_KERNELS];
  double seconds[BENCH_KERNELS];
  bench_list(b, kernels);
  for (int i = 0; i < BENCH_KERNELS; i++) seconds[i] = median_seconds(b, &kernels[i]);
  limits most = {kernels[BENCH_COPY].bytes / seconds[BENCH_COPY],
                 kernels[BENCH_GEMM].flops / fmin(seconds[BENCH_GEMM], seconds[BENCH_GEMM_BACK])};
  for (int i = 0; i < BENCH_KERNELS; i++) report(json, &kernels[i], seconds[i], most, i + 1 == BENCH_KERNELS);
}

int main(int argc, char **argv)
{
  bench b;
  bench_open(&b, argc > 1 ? atoi(argv[1]) : 4096);
  FILE *json = argc > 2 ? fopen(argv[2], "w") : NULL;
  printf("%s\nhidden size %lld, %lld tokens, median of %d\n", b.fused->description, (long long)b.hidden,
         (long long)b.tokens, ROUNDS);
  if (json) fprintf(json, "[\n");
  measure(&b, json);
  if (json) fprintf(json, "]\n"), fclose(json);
  return 0;
}
