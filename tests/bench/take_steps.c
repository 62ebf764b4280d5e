/* Some steps of a large model: memory by owner, plan against measured peak of all ranks together, seconds by
 * phase.
 *
 *   mpirun -np N take_steps STEPS JSON_FILE INPUT [section.key=value ...]
 *
 * Unlike a run it ends without a checkpoint. */
#include <stdio.h>
#include <stdlib.h>

#include "support/bench/training.h"

enum { MAX_STEPS = 100 };

typedef struct {
  training t;
  int steps;
  const char *json;
  qg_step_result results[MAX_STEPS];
  double step_seconds[MAX_STEPS], open_seconds;
  double owners[QG_OWNER_COUNT], planned, peak;             /* bytes, sums over ranks */
  double phase_most[QG_PHASE_COUNT], phase[QG_PHASE_COUNT]; /* seconds: slowest rank, sum over ranks */
} bench;

static qg_status train(bench *b)
{
  for (int i = 0; i < b->steps; i++) {
    double start = qg_now();
    QG_TRY(qg_train_step(b->t.trainer, i, i * b->t.config.train.global_batch, NULL, &b->results[i]));
    b->step_seconds[i] = qg_now() - start;
  }
  return qg_par_max(b->t.par, b->step_seconds, b->steps);
}

static qg_status collect(bench *b)
{
  const qg_timers *timers = qg_trainer_timers(b->t.trainer);
  for (int o = 0; o < QG_OWNER_COUNT; o++) b->owners[o] = (double)qg_mem_bytes(b->t.mem, (qg_owner)o);
  b->planned = (double)qg_mem_total(b->t.mem);
  b->peak = (double)qg_memory_peak();
  for (int p = 0; p < QG_PHASE_COUNT; p++) b->phase[p] = b->phase_most[p] = timers->seconds[p];
  QG_TRY(qg_par_sum(b->t.par, b->owners, QG_OWNER_COUNT));
  QG_TRY(qg_par_sum(b->t.par, &b->planned, 1));
  QG_TRY(qg_par_sum(b->t.par, &b->peak, 1));
  QG_TRY(qg_par_sum(b->t.par, b->phase, QG_PHASE_COUNT));
  return qg_par_max(b->t.par, b->phase_most, QG_PHASE_COUNT);
}

static void print_memory(const bench *b)
{
  printf("%-14s %10s\n", "memory", "MiB");
  for (int o = 0; o < QG_OWNER_COUNT; o++)
    printf("%-14s %10.1f\n", qg_owner_name((qg_owner)o), b->owners[o] / 1048576);
  printf("%-14s %10.1f\n%-14s %10.1f (%.1f %% of the plan)\n", "planned", b->planned / 1048576,
         "measured peak", b->peak / 1048576, 100 * b->peak / b->planned);
}

static void print_steps(const bench *b)
{
  double tokens = (double)(b->t.config.train.global_batch * b->t.config.train.sequence_length);
  for (int i = 0; i < b->steps; i++)
    printf("step %d: %.1f s, %.2f tokens/s, loss %.4f, gradient norm %.4f, %lld refreshes%s\n", i,
           b->step_seconds[i], tokens / b->step_seconds[i], b->results[i].loss, b->results[i].grad_norm,
           (long long)b->results[i].refreshes, b->results[i].skipped ? ", skipped" : "");
}

static void print(const bench *b)
{
  const qg_config *c = &b->t.config;
  int ranks = qg_par_grid(b->t.par)->size;
  printf(
      "\n%lld parameters, %d ranks, %d threads each, %lld x %lld tokens a step; memory and set-up %.1f s\n\n",
      (long long)qg_model_parameters(&c->model), ranks, b->t.real->threads, (long long)c->train.global_batch,
      (long long)c->train.sequence_length, b->open_seconds);
  print_memory(b);
  printf("\n%-14s %10s %10s\n", "phase", "mean s", "most s");
  for (int p = 0; p < QG_PHASE_COUNT; p++)
    if (b->phase_most[p] > 0)
      printf("%-14s %10.2f %10.2f\n", qg_phase_name((qg_phase)p), b->phase[p] / ranks, b->phase_most[p]);
  printf("\n");
  print_steps(b);
}

static qg_status write_json(const bench *b)
{
  FILE *file = fopen(b->json, "w");
  QG_CHECK(file, QG_ERR_RESOURCE, "cannot write %s", b->json);
  fprintf(file,
          "{\"bench\": \"steps\", \"parameters\": %lld, \"ranks\": %d, \"planned_bytes\": %.0f, "
          "\"peak_bytes\": %.0f,\n"
          " \"owners\": {",
          (long long)qg_model_parameters(&b->t.config.model), qg_par_grid(b->t.par)->size, b->planned,
          b->peak);
  for (int o = 0; o < QG_OWNER_COUNT; o++)
    fprintf(file, "%s\"%s\": %.0f", o ? ", " : "", qg_owner_name((qg_owner)o), b->owners[o]);
  fprintf(file, "},\n \"phases\": {");
  for (int p = 0; p < QG_PHASE_COUNT; p++)
    fprintf(file, "%s\"%s\": %.3f", p ? ", " : "", qg_phase_name((qg_phase)p), b->phase_most[p]);
  fprintf(file, "},\n \"step_seconds\": [");
  for (int i = 0; i < b->steps; i++) fprintf(file, "%s%.3f", i ? ", " : "", b->step_seconds[i]);
  fprintf(file, "]}\n");
  QG_CHECK(fclose(file) == 0, QG_ERR_RESOURCE, "cannot finish %s", b->json);
  return QG_OK;
}

static qg_status run(bench *b, int argc, char **argv)
{
  double start = qg_now();
  QG_TRY(training_open(argv[3], argc - 4, (const char *const *)argv + 4, &b->t));
  b->open_seconds = qg_now() - start;
  QG_TRY(train(b));
  QG_TRY(collect(b));
  if (!qg_par_is_root(qg_par_grid(b->t.par))) return QG_OK;
  print(b);
  return write_json(b);
}

int main(int argc, char **argv)
{
  static bench b;
  b.steps = argc > 1 ? atoi(argv[1]) : 0;
  b.json = argc > 2 ? argv[2] : NULL;
  if (argc < 4 || b.steps < 1 || b.steps > MAX_STEPS) {
    fprintf(stderr,
            "usage: mpirun -np N take_steps STEPS (up to %d) JSON_FILE INPUT [section.key=value ...]\n",
            MAX_STEPS);
    return QG_ERR_INPUT;
  }
  qg_status status = run(&b, argc, argv);
  if (status != QG_OK) {
    fprintf(stderr, "take_steps: %s\n%s", qg_error_message(), qg_error_trace());
    if (b.t.par) qg_par_abort(b.t.par, status);
  }
  training_close(&b.t);
  return (int)status;
}
