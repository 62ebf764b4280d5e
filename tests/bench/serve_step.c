/* Our side of bench_step: steps of a LLaMA-60M on the same 8 x 256 tokens, as a process
 * (support/bench/peer_process.h).
 *
 *   serve_step THREADS METHOD PRECISION [STATE]
 *
 * "step" is one optimizer step between refreshes, "refresh" one in which every subspace is due; both answer
 * wall seconds, CPU seconds, refreshes and loss. "operations" is two steps, the second with oneDNN's products
 * (support/bench/step_operations.h). "ready" says loss and gradient norm of the initial weights,
 * and FLOPs per token of a step. STATE receives tokens and initial weights for a peer. */
#include <stdio.h>
#include <stdlib.h>

#include "support/bench/peer_process.h"
#include "support/bench/samples.h"
#include "support/bench/step_operations.h"
#include "support/bench/training.h"

typedef struct {
  training t;
  int64_t step;
} server;

static qg_status step(server *s, qg_step_result *result, double seconds[2])
{
  double wall = qg_now(), cpu = samples_cpu_now();
  QG_TRY(qg_train_step(s->t.trainer, s->step++, 0, NULL, result));
  seconds[0] = qg_now() - wall;
  seconds[1] = samples_cpu_now() - cpu;
  return QG_OK;
}

static qg_status answer_step(void *state)
{
  qg_step_result result;
  double seconds[2] = {0};
  QG_TRY(step(state, &result, seconds));
  printf(" %.6f %.6f %lld %.6f", seconds[0], seconds[1], (long long)result.refreshes, result.loss);
  return QG_OK;
}

/* All matrices are due at multiples of update_gap. */
static qg_status answer_refresh(void *state)
{
  server *s = state;
  int64_t gap = s->t.config.qgalore.update_gap;
  s->step = qg_ceil_div(s->step, gap) * gap;
  return answer_step(state);
}

static qg_status timed_step(server *s, double *seconds)
{
  qg_step_result result;
  double both[2] = {0};
  timed_forget(&s->t.timed);
  QG_TRY(step(s, &result, both));
  *seconds = both[0];
  return QG_OK;
}

static qg_status answer_operations(void *state)
{
  server *s = state;
  timed_backend *timed = &s->t.timed;
  double seconds = 0;
  QG_TRY(timed_step(s, &seconds));
  printf(" %.6f", seconds);
  for (int kind = 0; kind < TIMED_COUNT; kind++) printf(" %.6f", timed->seconds[kind]);
  printf(" %.0f", timed_gemm_flops(timed));
  timed->by_onednn = QG_HAVE_ONEDNN;
  QG_TRY(timed_step(s, &seconds));
  printf(" %.6f", timed->by_onednn ? timed_gemm_seconds(timed) : 0.0);
  timed->by_onednn = false;
  return QG_OK;
}

static qg_status write_weight(training *t, int index, FILE *file)
{
  const qg_weight_reader *weights = qg_weights_reader(t->trainer->weights);
  const qg_param *param = &t->trainer->params.params[index];
  qg_backend *be = &t->timed.be;
  qg_view weight, floats;
  QG_TRY(weights->read(weights->impl, index, &weight));
  QG_TRY(qg_mem_view(t->mem, QG_OWNER_DATA, "weights for a peer", QG_F32, param->rows, param->cols, &floats));
  QG_TRY(be->ops->convert(be, floats, weight));
  size_t count = (size_t)(param->rows * param->cols);
  QG_CHECK(fwrite(floats.data, sizeof(float), count, file) == count, QG_ERR_RESOURCE,
           "cannot write %s for a peer: is the disk full?", param->name);
  return QG_OK;
}

/* int32 inputs and targets of the step, then every parameter as fp32, by index. */
static qg_status write_state(training *t, const char *path)
{
  const qg_config *c = &t->config;
  size_t tokens = (size_t)(c->train.global_batch * c->train.sequence_length);
  const qg_pipeline *pipeline = &t->trainer->pipeline;
  FILE *file = fopen(path, "wb");
  qg_status status = QG_OK;
  QG_CHECK(file, QG_ERR_RESOURCE, "cannot write %s", path);
  QG_TRY_OUT(qg_batch_read(t->trainer->train_tokens, (uint64_t)c->train.seed, 0, c->train.global_batch,
                           c->train.sequence_length, pipeline->inputs.host, pipeline->targets.host));
  fwrite(pipeline->inputs.host, sizeof(int32_t), tokens, file);
  fwrite(pipeline->targets.host, sizeof(int32_t), tokens, file);
  for (int i = 0; i < t->trainer->params.count; i++) QG_TRY_OUT(write_weight(t, i, file));
out:
  if (fclose(file) != 0 && status == QG_OK) status = QG_FAIL(QG_ERR_RESOURCE, "cannot finish %s", path);
  return status;
}

/* The learning rate of step 0 is 0, so that loss and norm are those of the initial weights; the two steps
 * after it warm up, as those of the peers. */
static qg_status warm_up(server *s)
{
  qg_step_result first, later;
  double seconds[2];
  QG_TRY(step(s, &first, seconds));
  training_take_flops(&s->t);
  for (int i = 0; i < 2; i++) QG_TRY(step(s, &later, seconds));
  printf("ready %.6f %.6f %.0f\n", first.loss, first.grad_norm,
         training_take_flops(&s->t) / 2 / (double)first.tokens);
  fflush(stdout);
  return QG_OK;
}

static qg_status open_job(const char *threads, const char *method, const char *precision, training *t)
{
  char threads_key[64], method_key[64], precision_key[64];
  snprintf(threads_key, sizeof threads_key, "backend.threads=%s", threads);
  snprintf(method_key, sizeof method_key, "optimizer.method=%s", method);
  snprintf(precision_key, sizeof precision_key, "backend.precision=%s", precision);
  const char *const overrides[] = {threads_key,
                                   method_key,
                                   precision_key,
                                   "data.train=random:100000",
                                   "data.valid=",
                                   "train.validate_every=0",
                                   "train.global_batch=8",
                                   "train.micro_batch=8",
                                   "optimizer.warmup_steps=1",
                                   "optimizer.min_lr_ratio=1",
                                   "optimizer.lr=0.001",
                                   "qgalore.lazy=no",
                                   "subspace.stagger=no"};
  return training_open("inputs/llama60m.in", QG_COUNT_OF(overrides), overrides, t);
}

static qg_status run(int argc, char **argv, server *s)
{
  static const peer_command commands[] = {
      {"step", answer_step}, {"refresh", answer_refresh}, {"operations", answer_operations}};
  QG_TRY(open_job(argv[1], argv[2], argv[3], &s->t));
  if (argc > 4) QG_TRY(write_state(&s->t, argv[4]));
  QG_TRY(warm_up(s));
  return peer_serve(commands, QG_COUNT_OF(commands), s);
}

int main(int argc, char **argv)
{
  static server s;
  if (argc < 4 || argc > 5) {
    fprintf(stderr, "usage: serve_step THREADS METHOD PRECISION [STATE]\n");
    return QG_ERR_INPUT;
  }
  qg_status status = run(argc, argv, &s);
  if (status != QG_OK) fprintf(stderr, "serve_step: %s\n%s", qg_error_message(), qg_error_trace());
  training_close(&s.t);
  return (int)status;
}
