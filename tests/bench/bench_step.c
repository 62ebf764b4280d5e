/* A training step of LLaMA-60M (8 x 256 tokens) compared with PyTorch.
 *
 *   bench_step [THREADS [ROUNDS [PEERS [JSON_FILE [NAME]]]]]
 *
 * PEERS: the virtual environment of `make bench-peers`; without it only our rows. Every peer is a
 * process (serve_step, peers/peer_step.py); in each round ours and the peer take one step each in turn. A
 * step with projections is charged its share of a refresh: plain + (refresh - plain) / update_gap. Ratios are
 * tokens/s of ours over the peer's, the median of those of the rounds, in wall and in CPU time: the second
 * hardly depends on other users of the machine. First loss and gradient norm, of the same weights and tokens,
 * say that it is the same work. NAME: only peers with this in their name; all: the slower settings of PyTorch
 * too. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/bench/peer_process.h"
#include "support/bench/samples.h"
#include "support/bench/step_operations.h"
#include "qgalore/base.h"

enum { MAX_ROUNDS = 50, TOKENS = 8 * 256, UPDATE_GAP = 200 };

typedef enum { WALL, CPU, REFRESHES, LOSS, ANSWERS } answer;
typedef enum { FIRST_LOSS, FIRST_NORM, FLOPS_PER_TOKEN, OPENINGS } opening;

typedef struct {
  const char *name, *precision, *optimizer, *compiled;
  bool refreshes; /* has subspaces */
  bool extra;     /* only when asked for */
} setting;

static const setting ours[] = {{"ours, qgalore", "bf16", "qgalore", NULL, true, false},
                               {"ours, adamw", "bf16", "adamw", NULL, false, false}};
enum { OURS = QG_COUNT_OF(ours) };

static const setting peers[] = {
    {"PyTorch, forward + backward", "bf16", "none", "yes", false, false},
    {"PyTorch, forward + backward, not compiled", "bf16", "none", "no", false, true},
    {"PyTorch, forward + backward", "autocast", "none", "no", false, false},
    {"PyTorch, forward + backward", "fp32", "none", "no", false, true},
    {"PyTorch, AdamW fused", "bf16", "adamw", "yes", false, false},
    {"PyTorch, AdamW fused, not compiled", "bf16", "adamw", "no", false, true},
    {"PyTorch, AdamW fused", "autocast", "adamw", "no", false, false},
    {"PyTorch, AdamW fused", "fp32", "adamw", "no", false, true},
    {"PyTorch, galore-torch AdamW", "bf16", "galore", "yes", true, false},
    {"PyTorch, galore-torch AdamW", "autocast", "galore", "no", true, true},
    {"PyTorch, q-galore-torch AdamW8bit", "bf16", "qgalore", "yes", true, false},
};

typedef struct {
  const setting *set;
  peer_process process;
  double first[OPENINGS];
  double step[MAX_ROUNDS][ANSWERS], refresh[MAX_ROUNDS][ANSWERS];
  double peak;
} racer;

typedef struct {
  int threads, rounds;
  const char *venv, *json, *name;
  char folder[4096], state[4200]; /* of the programs; weights and tokens for peers */
  racer ours[OURS], peers[QG_COUNT_OF(peers)];
} bench;

static qg_status start_ours(bench *b, const setting *set, const char *state, racer *r)
{
  char program[4200], threads[16];
  snprintf(program, sizeof program, "%s/serve_step", b->folder);
  snprintf(threads, sizeof threads, "%d", b->threads);
  const char *argv[] = {program, threads, set->optimizer, set->precision, state, NULL};
  r->set = set;
  return peer_start(argv, NULL, r->first, OPENINGS, &r->process);
}

static qg_status start_peer(bench *b, const setting *set, racer *r)
{
  char python[4200], threads[16];
  snprintf(python, sizeof python, "%s/bin/python", b->venv);
  snprintf(threads, sizeof threads, "%d", b->threads);
  const char *argv[] = {python,         "tests/bench/peers/peer_step.py",
                        threads,        set->precision,
                        set->optimizer, set->compiled,
                        b->state,       NULL};
  r->set = set;
  return peer_start(argv, peer_tuned_torch, r->first, OPENINGS, &r->process);
}

/* A separate process writes it, so that its memory is in no program's peak. */
static qg_status write_state(bench *b)
{
  racer writer;
  QG_TRY(start_ours(b, &ours[OURS - 1], b->state, &writer));
  return peer_quit(&writer.process, NULL);
}

static qg_status take_turn(racer *r, int round)
{
  QG_TRY(peer_ask(&r->process, "step", r->step[round], ANSWERS));
  return r->set->refreshes ? peer_ask(&r->process, "refresh", r->refresh[round], ANSWERS) : QG_OK;
}

/* Seconds of a step with its share of a refresh of every matrix. */
static double charged(const racer *r, int round, answer kind)
{
  double plain = r->step[round][kind];
  return r->set->refreshes ? plain + (r->refresh[round][kind] - plain) / UPDATE_GAP : plain;
}

static double tokens_per_second(const racer *r, int rounds)
{
  double values[MAX_ROUNDS];
  for (int i = 0; i < rounds; i++) values[i] = TOKENS / charged(r, i, WALL);
  return samples_median(values, rounds);
}

/* How many times as fast `a` is as `b`, over the rounds that they shared. */
static double speed_ratio(const racer *a, const racer *b, answer kind, int rounds)
{
  double values[MAX_ROUNDS];
  for (int i = 0; i < rounds; i++) values[i] = charged(b, i, kind) / charged(a, i, kind);
  return samples_median(values, rounds);
}

static void print_header(void)
{
  printf("%-44s %-9s %8s | %7s %7s | %7s %7s | %8s %7s | %8s %8s\n", "", "", "", "qgalore", "qgalore",
         "adamw", "adamw", "GFLOP", "peak", "first", "gradient");
  printf("%-44s %-9s %8s | %7s %7s | %7s %7s | %8s %7s | %8s %8s\n", "program", "precision", "tokens/s",
         "/ wall", "/ CPU", "/ wall", "/ CPU", "/ token", "MiB", "loss", "norm");
}

static void print_row(const bench *b, const racer *r)
{
  int n = b->rounds;
  printf("%-44s %-9s %8.0f | ", r->set->name, r->set->precision, tokens_per_second(r, n));
  for (int i = 0; i < OURS; i++)
    printf("%7.2f %7.2f | ", speed_ratio(&b->ours[i], r, WALL, n), speed_ratio(&b->ours[i], r, CPU, n));
  printf("%8.4f %7.0f | %8.4f %8.4f\n", r->first[FLOPS_PER_TOKEN] * 1e-9, r->peak / 1048576,
         r->first[FIRST_LOSS], r->first[FIRST_NORM]);
  fflush(stdout);
}

static void write_row(const bench *b, const racer *r, FILE *file, const char *separator)
{
  fprintf(
      file,
      "%s\n  {\"name\": \"%s\", \"precision\": \"%s\", \"tokens_per_second\": %.1f, \"qgalore_wall\": %.3f, "
      "\"qgalore_cpu\": %.3f, \"adamw_wall\": %.3f, \"adamw_cpu\": %.3f, \"flops_per_token\": %.0f, "
      "\"peak_bytes\": %.0f, \"first_loss\": %.5f, \"gradient_norm\": %.5f}",
      separator, r->set->name, r->set->precision, tokens_per_second(r, b->rounds),
      speed_ratio(&b->ours[0], r, WALL, b->rounds), speed_ratio(&b->ours[0], r, CPU, b->rounds),
      speed_ratio(&b->ours[1], r, WALL, b->rounds), speed_ratio(&b->ours[1], r, CPU, b->rounds),
      r->first[FLOPS_PER_TOKEN], r->peak, r->first[FIRST_LOSS], r->first[FIRST_NORM]);
}

static qg_status write_json(const bench *b)
{
  FILE *file = fopen(b->json, "w");
  QG_CHECK(file, QG_ERR_RESOURCE, "cannot write %s", b->json);
  fprintf(file, "{\"bench\": \"step\", \"threads\": %d, \"rounds\": %d, \"update_gap\": %d, \"rows\": [",
          b->threads, b->rounds, UPDATE_GAP);
  for (int i = 0; i < OURS; i++) write_row(b, &b->ours[i], file, i ? "," : "");
  for (int i = 0; i < QG_COUNT_OF(peers); i++)
    if (b->peers[i].set) write_row(b, &b->peers[i], file, ",");
  fprintf(file, "]}\n");
  QG_CHECK(fclose(file) == 0, QG_ERR_RESOURCE, "cannot finish %s", b->json);
  return QG_OK;
}

/* Ours are measured again with every peer, so that the ratio is of the same minutes. */
static qg_status race(bench *b, racer *peer)
{
  for (int round = 0; round < b->rounds; round++) {
    for (int i = 0; i < OURS; i++) QG_TRY(take_turn(&b->ours[i], round));
    if (peer) QG_TRY(take_turn(peer, round));
  }
  return QG_OK;
}

/* A peer that cannot run here says why on the error output, and the others go on. */
static qg_status race_peer(bench *b, const setting *set, racer *r)
{
  if (start_peer(b, set, r) != QG_OK || race(b, r) != QG_OK || peer_quit(&r->process, &r->peak) != QG_OK) {
    printf("%-44s %-9s did not run: %s\n", set->name, set->precision, qg_error_message());
    r->set = NULL;
    return QG_OK;
  }
  print_row(b, r);
  return QG_OK;
}

static bool is_wanted(const bench *b, const setting *set)
{
  if (!b->name) return !set->extra;
  return strcmp(b->name, "all") == 0 || strstr(set->name, b->name);
}

static qg_status race_peers(bench *b)
{
  char python[4200];
  snprintf(python, sizeof python, "%s/bin/python", b->venv);
  if (access(python, X_OK) != 0) {
    printf("no PyTorch in %s: its rows are left out (make bench-peers)\n", b->venv);
    return QG_OK;
  }
  QG_TRY(write_state(b));
  for (int i = 0; i < QG_COUNT_OF(peers); i++)
    if (is_wanted(b, &peers[i])) QG_TRY(race_peer(b, &peers[i], &b->peers[i]));
  return QG_OK;
}

/* Where the time of our step goes: medians of the rounds. */
static qg_status time_operations(bench *b, double *medians)
{
  double rounds[STEP_ANSWERS][MAX_ROUNDS], answers[STEP_ANSWERS];
  for (int round = 0; round < b->rounds; round++) {
    QG_TRY(peer_ask(&b->ours[0].process, "operations", answers, STEP_ANSWERS));
    for (int i = 0; i < STEP_ANSWERS; i++) rounds[i][round] = answers[i];
  }
  for (int i = 0; i < STEP_ANSWERS; i++) medians[i] = samples_median(rounds[i], b->rounds);
  return QG_OK;
}

static void print_rates(const bench *b, const double *answers)
{
  double gemm = 0, flops = b->ours[0].first[FLOPS_PER_TOKEN] * TOKENS;
  for (int kind = TIMED_GEMM_FORWARD; kind <= TIMED_GEMM_WEIGHT; kind++) gemm += answers[STEP_KINDS + kind];
  double step = flops / answers[STEP_SECONDS], own = answers[STEP_GEMM_FLOPS] / gemm;
  printf("the whole step: %.0f GFLOP/s, %.0f %% of the %.0f GFLOP/s of its GEMMs", step * 1e-9,
         100 * step / own, own * 1e-9);
  double library = answers[STEP_GEMM_FLOPS] / answers[STEP_ONEDNN_SECONDS];
  if (answers[STEP_ONEDNN_SECONDS] > 0)
    printf(", %.0f %% of the %.0f GFLOP/s of oneDNN in their place", 100 * step / library, library * 1e-9);
  printf("\n");
}

static qg_status print_operations(bench *b)
{
  double answers[STEP_ANSWERS], rest;
  QG_TRY(time_operations(b, answers));
  rest = answers[STEP_SECONDS];
  printf("\n%-28s %9s %8s\n", "our step (qgalore)", "ms", "share");
  for (int kind = 0; kind < TIMED_COUNT; kind++) {
    double seconds = answers[STEP_KINDS + kind];
    rest -= seconds;
    printf("%-28s %9.1f %6.1f %%\n", timed_names[kind], 1e3 * seconds, 100 * seconds / answers[STEP_SECONDS]);
  }
  printf("%-28s %9.1f %6.1f %%\n", "outside", 1e3 * rest, 100 * rest / answers[STEP_SECONDS]);
  print_rates(b, answers);
  return QG_OK;
}

static qg_status run(bench *b)
{
  for (int i = 0; i < OURS; i++) QG_TRY(start_ours(b, &ours[i], NULL, &b->ours[i]));
  print_header();
  QG_TRY(race_peers(b));
  QG_TRY(race(b, NULL));
  QG_TRY(print_operations(b));
  printf("\n");
  for (int i = 0; i < OURS; i++) {
    QG_TRY(peer_quit(&b->ours[i].process, &b->ours[i].peak));
    print_row(b, &b->ours[i]);
  }
  return b->json ? write_json(b) : QG_OK;
}

static bool parse(int argc, char **argv, bench *b)
{
  b->threads = argc > 1 ? atoi(argv[1]) : 2;
  b->rounds = argc > 2 ? atoi(argv[2]) : 5;
  b->venv = argc > 3 ? argv[3] : "build/peers";
  b->json = argc > 4 ? argv[4] : NULL;
  b->name = argc > 5 ? argv[5] : NULL;
  snprintf(b->folder, sizeof b->folder, "%s", argv[0]);
  char *slash = strrchr(b->folder, '/');
  if (!slash || b->threads < 1 || b->rounds < 1 || b->rounds > MAX_ROUNDS) return false;
  *slash = '\0';
  snprintf(b->state, sizeof b->state, "%s/step_state.bin", b->folder);
  return true;
}

int main(int argc, char **argv)
{
  static bench b;
  if (!parse(argc, argv, &b)) {
    fprintf(stderr, "usage: FOLDER/bench_step [THREADS [ROUNDS (up to %d) [PEERS [JSON_FILE [NAME]]]]]\n",
            MAX_ROUNDS);
    return QG_ERR_INPUT;
  }
  qg_status status = run(&b);
  if (status != QG_OK) fprintf(stderr, "bench_step: %s\n%s", qg_error_message(), qg_error_trace());
  unlink(b.state);
  return (int)status;
}
