/* Subspaces of the 56 matrices of a LLaMA-60M by every method, compared with torch.linalg.svd.
 *
 *   bench_subspace [THREADS [ROUNDS [FILE PREVIOUS_FILE [PEERS [JSON_FILE]]]]]
 *
 * A file is a row of records: int64 m, int64 n, then m * n fp32 values in row-major order, native byte order
 * (make_gradients writes them). The warm start begins at the exact basis of the same matrix in PREVIOUS_FILE;
 * "warm, INT4 start" at that basis as a projector stores it. Without files: synthetic gradients, and starts
 * that hold about 0.975 of the optimal energy. PEERS: the virtual environment of `make bench-peers`.
 *
 * All take turns. Seconds are medians over the rounds; energy is the captured share of a gradient's energy
 * relative to the exact optimum; a speed-up is the median over rounds of torch's better setting over the
 * method, in wall and in CPU time. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/bench/peer_process.h"
#include "support/bench/samples.h"
#include "support/bench/gradient_set.h"
#include "linalg/exact.h"
#include "qgalore/base.h"
#include "qgalore/linalg.h"

enum { MAX_ROUNDS = 99 };

typedef enum { WALL, CPU, CLOCKS } clock_kind;

typedef struct {
  const char *name;
  qg_subspace_method method;
  bool int4_start;
  double seconds[MAX_ROUNDS][CLOCKS];
  double energy_mean, energy_min; /* relative to exact */
  int fallbacks;                  /* matrices that went the exact way after all */
} route;

/* What PyTorch offers: two threads a matrix, or two matrices at a time. */
static const char *const torch_commands[] = {"threads", "matrices"};
enum { TORCH_WAYS = QG_COUNT_OF(torch_commands) };

typedef struct {
  peer_process process;
  bool present;
  double answers[TORCH_WAYS][MAX_ROUNDS][4]; /* wall and CPU seconds, mean and smallest share of energy */
} torch_peer;

static void solve(gradient_set *s, qg_subspace_method method, int threads, double seconds[CLOCKS])
{
  qg_subspace_options options = {
      .method = method, .min_energy_ratio = 0.97, .threads = threads, .bf16 = true};
  size_t bytes = qg_subspace_workspace(&options, s->jobs, s->count);
  void *workspace = gradient_set_alloc(bytes);
  memset(workspace, 0, bytes);
  double wall = qg_now(), cpu = samples_cpu_now();
  if (qg_subspace_solve(&options, s->jobs, s->count, workspace, bytes) != QG_OK) {
    fprintf(stderr, "bench_subspace: %s\n", qg_error_message());
    exit(QG_ERR_RUNTIME);
  }
  seconds[WALL] = qg_now() - wall;
  seconds[CPU] = samples_cpu_now() - cpu;
  free(workspace);
}

/* The optimum is what the eigenproblem of the whole side gives, whichever way the exact method goes. */
static void keep_optimum(gradient_set *s, int index)
{
  qg_subspace_job *job = &s->jobs[index];
  qg_projection_problem problem;
  int d = (int)qg_min_i64(job->m, job->n);
  char *workspace = gradient_set_alloc(qg_exact_bytes(d, (int)job->rank) + QG_SCRATCH_ALIGN);
  qg_scratch scratch = {.base = qg_scratch_align(workspace)};
  if (qg_projection_problem_open(job, scratch, &problem) != QG_OK || qg_exact_solve(&problem, scratch, job) != QG_OK) {
    fprintf(stderr, "bench_subspace: %s\n", qg_error_message());
    exit(QG_ERR_RUNTIME);
  }
  s->exact_energy[index] = basis_energy(job, job->basis);
  free(workspace);
}

static void keep_energies(gradient_set *s)
{
  for (int i = 0; i < s->count; i++) keep_optimum(s, i);
}

/* The exact bases of `before` become the old bases of `s`. */
static void start_from(gradient_set *s, gradient_set *before, int threads)
{
  qg_backend_request request = {.name = "cpu", .precision = "fp32", .threads = threads};
  qg_backend *be;
  double seconds[CLOCKS];
  if (before->count != s->count || qg_backend_open(&request, &be) != QG_OK) {
    fprintf(stderr, "bench_subspace: %d matrices, %d previous ones\n", s->count, before->count);
    exit(QG_ERR_INPUT);
  }
  solve(before, QG_SUBSPACE_EXACT, threads, seconds);
  for (int i = 0; i < s->count; i++) {
    const qg_subspace_job *job = &before->jobs[i];
    s->start[i] = job->basis;
    s->int4_start[i] = basis_through_int4(be, job->basis, job->rank * qg_min_i64(job->m, job->n));
  }
  qg_backend_close(be);
}

static void run_route(gradient_set *s, route *r, int threads, double seconds[CLOCKS])
{
  for (int i = 0; i < s->count; i++) s->jobs[i].previous = r->int4_start ? s->int4_start[i] : s->start[i];
  solve(s, r->method, threads, seconds);
}

/* After a run of this route. */
static void judge(const gradient_set *s, route *r)
{
  r->energy_mean = 0;
  r->energy_min = 1e9;
  r->fallbacks = 0;
  for (int i = 0; i < s->count; i++) {
    double share = basis_energy(&s->jobs[i], s->jobs[i].basis) / s->exact_energy[i];
    r->energy_mean += share / s->count;
    r->energy_min = fmin(r->energy_min, share);
    r->fallbacks += r->method != QG_SUBSPACE_EXACT && s->jobs[i].used == QG_SUBSPACE_EXACT;
  }
}

/* Energy that the old bases hold, relative to exact: mean and smallest. */
static void print_start(const gradient_set *s, const char *name, const float *const *start)
{
  double mean = 0, smallest = 1e9;
  for (int i = 0; i < s->count; i++) {
    double share = basis_energy(&s->jobs[i], start[i]) / s->exact_energy[i];
    mean += share / s->count;
    smallest = fmin(smallest, share);
  }
  printf("%-18s holds %.4f of the optimal energy, at least %.4f\n", name, mean, smallest);
}

static void start_torch(const char *venv, const char *file, torch_peer *torch)
{
  char python[4200], rank[16];
  snprintf(python, sizeof python, "%s/bin/python", venv);
  snprintf(rank, sizeof rank, "%d", GRADIENT_SET_RANK);
  const char *argv[] = {python, "tests/bench/peers/peer_subspace.py", file, rank, NULL};
  torch->present =
      access(python, X_OK) == 0 && peer_start(argv, peer_tuned_torch, NULL, 0, &torch->process) == QG_OK;
  if (!torch->present) printf("no PyTorch in %s: its rows are left out (make bench-peers)\n", venv);
}

static void ask_torch(torch_peer *torch, int round)
{
  for (int way = 0; way < TORCH_WAYS && torch->present; way++)
    if (peer_ask(&torch->process, torch_commands[way], torch->answers[way][round], 4) != QG_OK) {
      fprintf(stderr, "bench_subspace: %s\n", qg_error_message());
      torch->present = false;
    }
}

/* Over the rounds: the better of torch's ways over the route. */
static double speedup(const torch_peer *torch, const route *r, clock_kind kind, int rounds)
{
  double values[MAX_ROUNDS];
  for (int i = 0; i < rounds; i++)
    values[i] = fmin(torch->answers[0][i][kind], torch->answers[1][i][kind]) / r->seconds[i][kind];
  return samples_median(values, rounds);
}

static double median_seconds(const route *r, clock_kind kind, int rounds)
{
  double values[MAX_ROUNDS];
  for (int i = 0; i < rounds; i++) values[i] = r->seconds[i][kind];
  return samples_median(values, rounds);
}

static void print_torch(const torch_peer *torch, int rounds)
{
  for (int way = 0; way < TORCH_WAYS; way++) {
    double wall[MAX_ROUNDS], cpu[MAX_ROUNDS];
    for (int i = 0; i < rounds; i++) {
      wall[i] = torch->answers[way][i][WALL];
      cpu[i] = torch->answers[way][i][CPU];
    }
    printf("torch, %-12s %9.4f %9.4f\n", torch_commands[way], samples_median(wall, rounds),
           samples_median(cpu, rounds));
  }
}

static void report(const route *routes, int count, const torch_peer *torch, int rounds, FILE *json)
{
  printf("%-19s %9s %9s %10s %10s %9s %9s %9s\n", "method", "wall s", "CPU s", "/ torch", "/ torch CPU",
         "energy", "least", "fallbacks");
  if (json) fprintf(json, "{\"bench\": \"subspace\", \"rounds\": %d, \"methods\": [", rounds);
  for (int i = 0; i < count; i++) {
    const route *r = &routes[i];
    double wall = median_seconds(r, WALL, rounds), cpu = median_seconds(r, CPU, rounds);
    double faster[CLOCKS] = {torch->present ? speedup(torch, r, WALL, rounds) : NAN,
                             torch->present ? speedup(torch, r, CPU, rounds) : NAN};
    printf("%-19s %9.4f %9.4f %10.2f %10.2f  %10.7f %10.7f %9d\n", r->name, wall, cpu, faster[WALL],
           faster[CPU], r->energy_mean, r->energy_min, r->fallbacks);
    if (json)
      fprintf(json,
              "%s\n  {\"method\": \"%s\", \"wall\": %.4f, \"cpu\": %.4f, \"energy_mean\": %.6f, "
              "\"energy_min\": %.6f, "
              "\"fallbacks\": %d, \"times_torch_wall\": %.3f, \"times_torch_cpu\": %.3f}",
              i ? "," : "", r->name, wall, cpu, r->energy_mean, r->energy_min, r->fallbacks,
              torch->present ? faster[WALL] : 0, torch->present ? faster[CPU] : 0);
  }
  if (json) fprintf(json, "]}\n");
}

static void run(gradient_set *s, torch_peer *torch, int threads, int rounds, FILE *json)
{
  static route routes[] = {{.name = "exact", .method = QG_SUBSPACE_EXACT},
                           {.name = "warm", .method = QG_SUBSPACE_WARM},
                           {.name = "warm, INT4 start", .method = QG_SUBSPACE_WARM, .int4_start = true},
                           {.name = "randomized", .method = QG_SUBSPACE_RANDOMIZED}};
  enum { ROUTES = QG_COUNT_OF(routes) };
  double warm_up[CLOCKS];
  run_route(s, &routes[0], threads, warm_up);
  keep_energies(s);
  print_start(s, "exact old basis", s->start);
  print_start(s, "INT4 old basis", s->int4_start);
  for (int round = 0; round < rounds; round++) {
    for (int i = 0; i < ROUTES; i++) {
      run_route(s, &routes[i], threads, routes[i].seconds[round]);
      judge(s, &routes[i]);
    }
    ask_torch(torch, round);
  }
  report(routes, ROUTES, torch, rounds, json);
  if (torch->present) print_torch(torch, rounds);
}

int main(int argc, char **argv)
{
  static gradient_set current, before;
  static torch_peer torch;
  int threads = argc > 1 ? atoi(argv[1]) : 2, rounds = argc > 2 ? atoi(argv[2]) : 5;
  if (threads < 1 || rounds < 1 || rounds > MAX_ROUNDS || argc == 4 || argc > 7) {
    fprintf(stderr,
            "usage: bench_subspace [THREADS [ROUNDS (up to %d) [FILE PREVIOUS_FILE [PEERS [JSON_FILE]]]]]\n",
            MAX_ROUNDS);
    return QG_ERR_INPUT;
  }
  if (argc >= 5) {
    gradient_set_read(argv[3], &current);
    gradient_set_read(argv[4], &before);
  } else {
    gradient_set_make_llama_60m(&current, false);
    gradient_set_make_llama_60m(&before, true);
  }
  FILE *json = argc > 6 ? fopen(argv[6], "w") : NULL;
  if (argc > 5) start_torch(argv[5], argv[3], &torch);
  start_from(&current, &before, threads);
  run(&current, &torch, threads, rounds, json);
  peer_quit(&torch.process, NULL);
  if (json && fclose(json) != 0) fprintf(stderr, "bench_subspace: cannot finish %s\n", argv[6]);
  return 0;
}
