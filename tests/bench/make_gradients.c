/* Gradients of a real run for bench_subspace.
 *
 *   make_gradients TOKENS VOCABULARY FOLDER STEP...
 *
 * Trains the layers of a LLaMA-60M with Q-GaLore on a token file, 8 x 256 tokens a step, and writes after
 * each STEP updates (ascending) the gradients of its 56 layer matrices over 64 x 256 tokens that training has
 * not seen: FOLDER/step-STEP.bin, records of int64 m, int64 n, then m * n fp32 values. VOCABULARY is that of
 * the token file: embedding and head have its size, the layers are those of inputs/llama60m.in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/bench/training.h"

enum { TRAINED_SEQUENCES = 8, PIECES = 8, MAX_PARAMS = 1024 };

typedef struct {
  training t;
  const char *folder;
  qg_gradient_port port;         /* keeps gradients here */
  float *norm_gradient;          /* not used */
  qg_view gradients[MAX_PARAMS]; /* f32 [rows, cols] of layer matrices, empty for others */
} maker;

static qg_status keep_matrix(void *impl, int param, qg_view dy, qg_view x)
{
  maker *m = impl;
  if (!m->gradients[param].data) return QG_OK;
  qg_gemm_args gemm = {.a = dy, .b = x, .c = m->gradients[param], .trans_a = true, .alpha = 1, .beta = 1};
  return m->t.real->ops->gemm(m->t.real, &gemm);
}

static qg_status ignore_rows(void *impl, int param, const int32_t *ids, qg_view dx)
{
  (void)impl, (void)param, (void)ids, (void)dx;
  return QG_OK;
}

static qg_status ignore_vector(void *impl, int param, float **out)
{
  (void)param;
  *out = ((maker *)impl)->norm_gradient;
  return QG_OK;
}

static qg_status ignore_complete(void *impl, int param)
{
  (void)impl, (void)param;
  return QG_OK;
}

static qg_status take_memory(maker *m)
{
  const qg_param_list *list = &m->t.trainer->params;
  QG_CHECK(list->count <= MAX_PARAMS, QG_ERR_INPUT, "the model has over %d parameters", MAX_PARAMS);
  for (int i = 0; i < list->count; i++) {
    const qg_param *param = &list->params[i];
    if (param->kind == QG_PARAM_MATRIX)
      QG_TRY(qg_mem_view(m->t.mem, QG_OWNER_GRADIENTS, param->name, QG_F32, param->rows, param->cols,
                         &m->gradients[i]));
  }
  m->port = (qg_gradient_port){.impl = m,
                               .add_matrix = keep_matrix,
                               .add_rows = ignore_rows,
                               .vector = ignore_vector,
                               .complete = ignore_complete};
  return qg_mem_alloc(m->t.mem, QG_OWNER_GRADIENTS, "norms",
                      qg_dtype_bytes(QG_F32, m->t.config.model.hidden_size), (void **)&m->norm_gradient);
}

/* Forward and backward of the sequences from `cursor` on, as many as a training step has. */
static qg_status add_gradients(maker *m, int64_t cursor)
{
  qg_trainer *t = m->t.trainer;
  const qg_config *c = t->config;
  const qg_pipeline *p = &t->pipeline;
  const qg_weight_reader *weights = qg_weights_reader(t->weights);
  int64_t tokens = TRAINED_SEQUENCES * c->train.sequence_length;
  size_t bytes = (size_t)tokens * sizeof(int32_t);
  float share = 1.0f / (float)(PIECES * tokens);
  qg_view none = {0};
  QG_TRY(qg_batch_read(t->train_tokens, (uint64_t)c->train.seed, cursor, TRAINED_SEQUENCES,
                       c->train.sequence_length, p->inputs.host, p->targets.host));
  QG_TRY(t->be->ops->copy_in(t->be, p->inputs.device, p->inputs.host, bytes));
  QG_TRY(t->be->ops->copy_in(t->be, p->targets.device, p->targets.host, bytes));
  QG_TRY(qg_stage_forward(p->stage, weights, 0, p->inputs.device, &none));
  QG_TRY(qg_stage_loss(p->stage, weights, &m->port, 0, p->targets.device, share, p->loss));
  return qg_stage_backward(p->stage, weights, &m->port, 0, p->inputs.device, none, &none);
}

static qg_status write_gradients(maker *m, int64_t step)
{
  char path[4200];
  snprintf(path, sizeof path, "%s/step-%lld.bin", m->folder, (long long)step);
  FILE *file = fopen(path, "wb");
  QG_CHECK(file, QG_ERR_RESOURCE, "cannot write %s", path);
  for (int i = 0; i < m->t.trainer->params.count; i++) {
    qg_view g = m->gradients[i];
    if (!g.data) continue;
    fwrite((int64_t[]){g.rows, g.cols}, sizeof(int64_t), 2, file);
    fwrite(g.data, sizeof(float), (size_t)(g.rows * g.cols), file);
  }
  bool written = !ferror(file);
  QG_CHECK(fclose(file) == 0 && written, QG_ERR_RESOURCE, "cannot finish %s: is the disk full?", path);
  return QG_OK;
}

static qg_status capture(maker *m, int64_t step, int64_t cursor)
{
  for (int id = 0; id < MAX_PARAMS; id++)
    if (m->gradients[id].data)
      memset(m->gradients[id].data, 0, qg_dtype_bytes(QG_F32, m->gradients[id].rows * m->gradients[id].cols));
  for (int piece = 0; piece < PIECES; piece++) QG_TRY(add_gradients(m, cursor + piece * TRAINED_SEQUENCES));
  return write_gradients(m, step);
}

static qg_status train_and_capture(maker *m, char **steps)
{
  int64_t step = 0;
  qg_step_result result = {0};
  for (; *steps; steps++) {
    int64_t wanted = atoll(*steps);
    for (; step < wanted; step++)
      QG_TRY(qg_train_step(m->t.trainer, step, step * TRAINED_SEQUENCES, NULL, &result));
    QG_TRY(capture(m, step, step * TRAINED_SEQUENCES));
    printf("step %lld: loss %.4f\n", (long long)step, result.loss);
    fflush(stdout);
  }
  return QG_OK;
}

static qg_status open_job(const char *tokens, const char *vocabulary, training *t)
{
  char data[4200], vocab[64];
  snprintf(data, sizeof data, "data.train=%s", tokens);
  snprintf(vocab, sizeof vocab, "model.vocab_size=%s", vocabulary);
  const char *const overrides[] = {data,
                                   vocab,
                                   "data.valid=",
                                   "train.validate_every=0",
                                   "train.steps=1000",
                                   "train.global_batch=8",
                                   "train.micro_batch=8",
                                   "optimizer.warmup_steps=30",
                                   "qgalore.update_gap=20"};
  return training_open("inputs/llama60m.in", QG_COUNT_OF(overrides), overrides, t);
}

int main(int argc, char **argv)
{
  static maker m;
  if (argc < 5) {
    fprintf(stderr, "usage: make_gradients TOKENS VOCABULARY FOLDER STEP...\n");
    return QG_ERR_INPUT;
  }
  m.folder = argv[3];
  qg_status status = open_job(argv[1], argv[2], &m.t);
  if (status == QG_OK) status = take_memory(&m);
  if (status == QG_OK) status = train_and_capture(&m, argv + 4);
  if (status != QG_OK) fprintf(stderr, "make_gradients: %s\n%s", qg_error_message(), qg_error_trace());
  training_close(&m.t);
  return (int)status;
}
