/* Seconds to refresh every matrix of LLaMA-7B on one device: exact, and warm from the previous basis.
 * Usage: bench_refresh [HIDDEN [JSON_FILE]]; smaller models keep the proportions of 4096. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "qgalore/base.h"
#include "support/fixtures/cuda_device.h"

enum { ROUNDS = 3, LAYERS = 32, KINDS = 3 };

typedef struct {
  const char *name;
  int64_t m, n;
  int count; /* in a layer */
} kind;

typedef struct {
  qg_backend *be;
  int64_t rank;
  float *gradient, *basis, *previous, *values;
} bench;

static void must(qg_status status)
{
  if (status == QG_OK) return;
  fprintf(stderr, "%s\n", qg_error_message());
  exit(status);
}

static void *take(bench *b, int64_t floats)
{
  void *memory;
  must(b->be->ops->alloc(b->be, (size_t)floats * sizeof(float), &memory));
  return memory;
}

/* Rows of noise that share some directions more than others: cos(j (i mod p)) + noise. */
static void fill(bench *b, const kind *k)
{
  float *host = malloc((size_t)(k->m * k->n) * sizeof *host);
  qg_rng rng = {3, 0, 0, QG_RNG_INIT};
  if (!host) exit(1);
  for (int64_t e = 0; e < k->m * k->n; e++)
    host[e] = cosf(0.37f * (float)((e / k->n) % (b->rank / 2 + 1)) * (float)(e % k->n)) +
              qg_rng_unit_at(rng, (uint64_t)e) - 0.5f;
  must(b->be->ops->copy_in(b->be, b->gradient, host, (size_t)(k->m * k->n) * sizeof *host));
  free(host);
}

/* The best of some rounds; negative where the device leaves it to the host. The basis is kept as the next
 * start. */
static double solve(bench *b, const kind *k, bool warm, double *energy)
{
  qg_device_solver solver = warm ? QG_SOLVER_POWER : QG_SOLVER_GRAM;
  size_t bytes = b->be->ops->subspace_bytes(b->be, k->m, k->n, b->rank, solver);
  double best = INFINITY;
  void *workspace;
  must(b->be->ops->alloc(b->be, bytes, &workspace));
  for (int round = 0; round <= ROUNDS; round++) {
    qg_subspace_args args = {.gradient = qg_view_make(b->gradient, QG_F32, k->m, k->n),
                             .rank = b->rank,
                             .solver = solver,
                             .previous = warm ? b->previous : NULL,
                             .workspace = workspace,
                             .workspace_bytes = bytes,
                             .basis = b->basis,
                             .singular_values = b->values};
    double begin = qg_now();
    must(b->be->ops->subspace(b->be, &args));
    must(b->be->ops->sync(b->be));
    if (round > 0) best = fmin(best, qg_now() - begin); /* the first one loads kernels */
    if (!args.accepted) best = -1.0;
    *energy = args.energy;
  }
  b->be->ops->release(b->be, workspace, bytes);
  return best;
}

/* Moves every hundredth element, so that a warm start has something to follow. */
static void disturb(bench *b, const kind *k)
{
  qg_view some = qg_view_make(b->gradient, QG_F32, k->m, qg_max_i64(1, k->n / 100));
  some.stride = k->n;
  must(b->be->ops->axpy(b->be, 0.5f, some, some));
}

static void measure(bench *b, const kind *k, double total[2], FILE *json, bool last)
{
  double exact_energy, warm_energy;
  qg_view found = qg_view_make(b->basis, QG_F32, b->rank, qg_min_i64(k->m, k->n)), start = found;
  fill(b, k);
  double exact = solve(b, k, false, &exact_energy);
  start.data = b->previous;
  must(b->be->ops->convert(b->be, start, found));
  disturb(b, k);
  double warm = solve(b, k, true, &warm_energy);
  total[0] += LAYERS * k->count * exact;
  total[1] += LAYERS * k->count * warm;
  printf("%-16s %6lld %6lld %4d %10.4f s %8.5f %10.4f s %8.5f\n", k->name, (long long)k->m, (long long)k->n,
         LAYERS * k->count, exact, exact_energy, warm, warm_energy);
  if (json)
    fprintf(json, "  {\"m\": %lld, \"n\": %lld, \"exact\": %.6g, \"warm\": %.6g}%s\n", (long long)k->m,
            (long long)k->n, exact, warm, last ? "" : ",");
}

int main(int argc, char **argv)
{
  bench b = {.be = open_cuda("bf16")};
  if (!b.be) return 77;
  int64_t hidden = argc > 1 ? atoi(argv[1]) : 4096, wide = hidden * 43 / 16;
  const kind kinds[KINDS] = {
      {"q, k, v, o", hidden, hidden, 4}, {"gate, up", wide, hidden, 2}, {"down", hidden, wide, 1}};
  double total[2] = {0, 0};
  FILE *json = argc > 2 ? fopen(argv[2], "w") : NULL;
  b.rank = hidden / 4;
  b.gradient = take(&b, wide * hidden);
  b.basis = take(&b, b.rank * hidden);
  b.previous = take(&b, b.rank * hidden);
  b.values = malloc((size_t)b.rank * sizeof *b.values);
  printf(
      "%s\nrefresh at rank %lld, best of %d: seconds of one matrix and the energy it captured\n%-16s %6s %6s "
      "%4s %12s %8s %12s\n",
      b.be->description, (long long)b.rank, ROUNDS, "matrix", "m", "n", "all", "exact", "energy", "warm");
  if (json) fprintf(json, "[\n");
  for (int i = 0; i < KINDS; i++) measure(&b, &kinds[i], total, json, i + 1 == KINDS);
  if (json) fprintf(json, "]\n"), fclose(json);
  printf("all %d matrices: exact %.2f s, warm %.2f s\n", LAYERS * 7, total[0], total[1]);
  return 0;
}
