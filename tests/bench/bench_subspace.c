/* Subspaces of the 56 matrices of a LLaMA-60M, or of matrices from a file, by every method.
 *
 *   bench_subspace [THREADS [ROUNDS [FILE PREVIOUS_FILE]]]
 *
 * A file is a row of records: int64 m, int64 n, then m * n fp32 values in row-major order, native byte order.
 * The warm start begins at the exact basis of the same matrix in PREVIOUS_FILE; without files, of the
 * synthetic gradient mixed with another one, so that it holds about 0.975 of the optimal energy. One JSON
 * line a method: seconds (median, smallest, largest of the rounds; the methods take turns), the energy
 * relative to the exact one, and how many matrices fell back to the exact route. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/linalg.h"
#include "qgalore/philox.h"

enum { MAX_MATRICES = 4096, MAX_ROUNDS = 99, RANK = 128, LAYERS = 8 };

typedef struct {
  const char *name;
  qg_subspace_method method;
  double seconds[MAX_ROUNDS];
} contender;

typedef struct {
  int count;
  qg_subspace_job jobs[MAX_MATRICES];
  double exact_energy[MAX_MATRICES];
} suite;

static void *take(size_t bytes)
{
  void *memory = malloc(bytes);
  if (!memory) {
    fprintf(stderr, "bench_subspace: no memory for %zu bytes\n", bytes);
    exit(QG_ERR_RESOURCE);
  }
  return memory;
}

static float uniform(qg_rng rng, int64_t i)
{
  return qg_rng_unit_at(rng, (uint64_t)i) - 0.5f;
}

/* Gradients of a layer are sums of outer products over tokens with a few strong directions: G = A diag(s) B
 * with random A [m, d], B [d, n], d = min(m, n), and s_i = (1 + i)^-0.5. */
static void add_synthetic(int64_t m, int64_t n, uint32_t id, float share, float *gradient)
{
  int64_t d = qg_min_i64(m, n);
  qg_rng left = {.seed = 1, .tensor = id, .purpose = QG_RNG_SYNTHETIC};
  qg_rng right = {.seed = 2, .tensor = id, .purpose = QG_RNG_SYNTHETIC};
  float *row = take((size_t)d * sizeof *row), *b = take((size_t)(d * n) * sizeof *b);
  for (int64_t i = 0; i < d * n; i++) b[i] = uniform(right, i);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t k = 0; k < d; k++) row[k] = share * uniform(left, i * d + k) * powf(1 + (float)k, -0.5f);
    for (int64_t k = 0; k < d; k++)
      for (int64_t j = 0; j < n; j++) gradient[i * n + j] += row[k] * b[k * n + j];
  }
  free(row);
  free(b);
}

static void append(suite *s, int64_t m, int64_t n, float *gradient)
{
  int64_t d = qg_min_i64(m, n), rank = qg_min_i64(RANK, d);
  s->jobs[s->count] = (qg_subspace_job){.m = m,
                                        .n = n,
                                        .rank = rank,
                                        .gradient = gradient,
                                        .basis = take((size_t)(rank * d) * sizeof(float)),
                                        .singular_values = take((size_t)rank * sizeof(float)),
                                        .seed = (uint64_t)s->count};
  s->count++;
}

static void make_llama_60m(suite *s, bool drifted)
{
  static const int64_t shapes[][2] = {{512, 512},  {512, 512},  {512, 512}, {512, 512},
                                      {1376, 512}, {1376, 512}, {512, 1376}};
  for (int i = 0; i < LAYERS * QG_COUNT_OF(shapes); i++) {
    int64_t m = shapes[i % QG_COUNT_OF(shapes)][0], n = shapes[i % QG_COUNT_OF(shapes)][1];
    float *gradient = take((size_t)(m * n) * sizeof *gradient);
    memset(gradient, 0, (size_t)(m * n) * sizeof *gradient);
    add_synthetic(m, n, (uint32_t)i, 1e-3f, gradient);
    if (drifted) add_synthetic(m, n, (uint32_t)i + MAX_MATRICES, 0.35e-3f, gradient);
    append(s, m, n, gradient);
  }
}

static void read_matrices(const char *path, suite *s)
{
  FILE *file = fopen(path, "rb");
  int64_t shape[2];
  while (file && s->count < MAX_MATRICES && fread(shape, sizeof shape, 1, file) == 1) {
    size_t count = (size_t)shape[0] * (size_t)shape[1];
    float *gradient = take(count * sizeof *gradient);
    if (fread(gradient, sizeof *gradient, count, file) != count) break;
    append(s, shape[0], shape[1], gradient);
  }
  if (!file || !feof(file) || s->count == 0) {
    fprintf(stderr, "bench_subspace: %s cannot be read as records of (m, n, m * n floats)\n", path);
    exit(QG_ERR_INPUT);
  }
  fclose(file);
}

static double solve(suite *s, qg_subspace_method method, int threads)
{
  qg_subspace_options options = {.method = method, .min_energy_ratio = 0.97, .threads = threads};
  size_t bytes = qg_subspace_workspace(&options, s->jobs, s->count);
  void *workspace = take(bytes);
  memset(workspace, 0, bytes);
  double start = qg_now();
  if (qg_subspace_solve(&options, s->jobs, s->count, workspace, bytes) != QG_OK) {
    fprintf(stderr, "bench_subspace: %s\n", qg_error_message());
    exit(QG_ERR_RUNTIME);
  }
  double seconds = qg_now() - start;
  free(workspace);
  return seconds;
}

static void keep_energies(suite *s)
{
  for (int i = 0; i < s->count; i++) s->exact_energy[i] = s->jobs[i].energy;
}

/* The exact bases of `before` become the old bases of `s`. */
static void start_from(suite *s, suite *before, int threads)
{
  if (before->count != s->count) {
    fprintf(stderr, "bench_subspace: %d matrices, but %d previous ones\n", s->count, before->count);
    exit(QG_ERR_INPUT);
  }
  solve(before, QG_SUBSPACE_EXACT, threads);
  for (int i = 0; i < s->count; i++) s->jobs[i].previous = before->jobs[i].basis;
}

/* The share of a gradient's energy that a basis holds. */
static double energy_of(const qg_subspace_job *job, const float *basis)
{
  bool right = qg_side_of(job->m, job->n) == QG_SIDE_RIGHT;
  int64_t length = right ? job->m : job->n, d = right ? job->n : job->m;
  double inside = 0, all = 0;
  for (int64_t i = 0; i < job->m * job->n; i++) all += (double)job->gradient[i] * (double)job->gradient[i];
  for (int64_t i = 0; i < length; i++)
    for (int64_t k = 0; k < job->rank; k++) {
      double sum = 0;
      for (int64_t j = 0; j < d; j++)
        sum += right ? (double)job->gradient[i * d + j] * (double)basis[k * d + j]
                     : (double)job->gradient[j * length + i] * (double)basis[j * job->rank + k];
      inside += sum * sum;
    }
  return inside / all;
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void report(const suite *s, contender *c, int threads, int rounds)
{
  double mean = 0, smallest = 1e9;
  int fallbacks = 0;
  for (int i = 0; i < s->count; i++) {
    double share = s->jobs[i].energy / s->exact_energy[i];
    mean += share / s->count;
    smallest = fmin(smallest, share);
    fallbacks += c->method != QG_SUBSPACE_EXACT && s->jobs[i].used == QG_SUBSPACE_EXACT;
  }
  qsort(c->seconds, (size_t)rounds, sizeof *c->seconds, ascending);
  printf(
      "{\"bench\": \"subspace\", \"method\": \"%s\", \"matrices\": %d, \"threads\": %d, \"rounds\": %d, "
      "\"seconds\": %.4f, \"seconds_min\": %.4f, \"seconds_max\": %.4f, \"energy_mean\": %.5f, "
      "\"energy_min\": %.5f, \"exact_fallbacks\": %d}\n",
      c->name, s->count, threads, rounds, c->seconds[rounds / 2], c->seconds[0], c->seconds[rounds - 1], mean,
      smallest, fallbacks);
}

/* Shares of the optimal energy that the old bases hold, averaged. */
static double start_energy(const suite *s)
{
  double mean = 0;
  for (int i = 0; i < s->count; i++)
    mean += energy_of(&s->jobs[i], s->jobs[i].previous) / s->exact_energy[i] / s->count;
  return mean;
}

static void run(suite *s, int threads, int rounds)
{
  contender contenders[] = {{.name = "exact", .method = QG_SUBSPACE_EXACT},
                            {.name = "warm", .method = QG_SUBSPACE_WARM},
                            {.name = "randomized", .method = QG_SUBSPACE_RANDOMIZED}};
  solve(s, QG_SUBSPACE_EXACT, threads);
  keep_energies(s);
  printf("{\"bench\": \"subspace\", \"warm_start_energy_mean\": %.5f}\n", start_energy(s));
  for (int round = 0; round < rounds; round++)
    for (int i = 0; i < QG_COUNT_OF(contenders); i++)
      contenders[i].seconds[round] = solve(s, contenders[i].method, threads);
  for (int i = 0; i < QG_COUNT_OF(contenders); i++) {
    solve(s, contenders[i].method, threads);
    report(s, &contenders[i], threads, rounds);
  }
}

int main(int argc, char **argv)
{
  static suite current, before;
  int threads = argc > 1 ? atoi(argv[1]) : 2, rounds = argc > 2 ? atoi(argv[2]) : 5;
  if (threads < 1 || rounds < 1 || rounds > MAX_ROUNDS || argc == 4 || argc > 5) {
    fprintf(stderr, "usage: bench_subspace [THREADS [ROUNDS (up to %d) [FILE PREVIOUS_FILE]]]\n", MAX_ROUNDS);
    return QG_ERR_INPUT;
  }
  if (argc == 5) {
    read_matrices(argv[3], &current);
    read_matrices(argv[4], &before);
  } else {
    make_llama_60m(&current, false);
    make_llama_60m(&before, true);
  }
  start_from(&current, &before, threads);
  run(&current, threads, rounds);
  return 0;
}
