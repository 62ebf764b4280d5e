#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"
#include "train/optim_options.h"
#include "train/trainer.h"

static void before_gradients(void *trainer)
{
  qg_trainer *t = trainer;
  if (!t->save) return;
  qg_timer_start(&t->timers, QG_PHASE_CHECKPOINT);
  qg_ckpt_await_copy(t->save);
  qg_timer_stop(&t->timers, QG_PHASE_CHECKPOINT);
}

static qg_status incoming(void *trainer, qg_view gradient)
{
  return qg_optim_check_incoming(((qg_trainer *)trainer)->optim, gradient);
}

static qg_status end_micro_batch(void *trainer, int64_t micro_batch)
{
  return qg_optim_end_micro_batch(((qg_trainer *)trainer)->optim, micro_batch);
}

static qg_status create_weights(qg_trainer *t)
{
  return qg_weights_from_config(t->config, t->mem, t->be, &t->params, &t->weights);
}

static qg_status create_optim(qg_trainer *t)
{
  const qg_config *c = t->config;
  qg_optim_request request = {.mem = t->mem,
                              .be = t->be,
                              .params = t->params,
                              .weights = t->weights,
                              .options = qg_optim_options_from_config(c, t->be->threads),
                              .tokens = c->train.micro_batch * c->train.sequence_length,
                              .micro_batches = qg_config_micro_batches(c)};
  request.options.this_rank = t->stage_index;
  request.options.all_ranks = t->stages;
  QG_TRY(qg_optim_create(&request, &t->optim));
  return qg_mem_is_dry(t->mem) ? QG_OK : qg_weights_start(t->weights);
}

static qg_status create_pipeline(qg_trainer *t)
{
  const qg_config *c = t->config;
  qg_pipeline_request request = {.mem = t->mem,
                                 .be = t->be,
                                 .par = t->par,
                                 .shape = &c->model,
                                 .part = t->part,
                                 .index = t->stage_index,
                                 .stages = t->stages,
                                 .device_pointers = t->device_pointers,
                                 .micro_batches = (int)qg_config_micro_batches(c),
                                 .options = {.micro_batch = c->train.micro_batch,
                                             .sequence_length = c->train.sequence_length,
                                             .logit_chunk_tokens = c->train.logit_chunk_tokens,
                                             .checkpointing = c->train.activation_checkpointing,
                                             .offload = c->train.activation_offload,
                                             .graphs = c->backend.graphs},
                                 .timers = &t->timers};
  QG_TRY(qg_pipeline_create(&request, qg_weights_reader(t->weights), qg_optim_port(t->optim), &t->pipeline));
  t->pipeline.hooks = (qg_pipeline_hooks){t, before_gradients, incoming, end_micro_batch};
  return QG_OK;
}

static qg_status create_rest(qg_trainer *t)
{
  size_t parameters = (size_t)t->params.count;
  qg_tied_request tied = {t->mem, t->be, t->par, &t->params, t->stage_index, t->stages, t->device_pointers};
  QG_TRY(qg_tied_create(&tied, &t->tied));
  QG_TRY(qg_calloc(parameters + QG_REDUCE_EXTRA, sizeof(double), "sums of squares", (void **)&t->reduce));
  QG_TRY(qg_calloc(QG_SHARED_FIELDS * parameters, sizeof(double), "shared records", (void **)&t->shared));
  return qg_calloc(parameters, sizeof *t->refreshes, "records of refreshes", (void **)&t->refreshes);
}

static qg_status create_selftest(qg_trainer *t)
{
  qg_selftest_request request = {.config = t->config,
                                 .be = t->be,
                                 .par = t->par,
                                 .mem = t->mem,
                                 .part = &t->part,
                                 .stage_index = t->stage_index,
                                 .stages = t->stages,
                                 .device_pointers = t->device_pointers,
                                 .weights = &t->pipeline.trace.weights,
                                 .inputs = t->pipeline.inputs.device,
                                 .targets = t->pipeline.targets.device,
                                 .loss = t->pipeline.loss};
  return qg_selftest_create(&request, &t->selftest);
}

qg_status qg_trainer_state(qg_trainer *t, const qg_state_entry **entries, int *count)
{
  const qg_state_entry *optim;
  int held, tests = t->selftest.stage ? 1 : 0;
  QG_TRY(qg_optim_state(t->optim, &optim, &held));
  if (t->state_count != held + tests) {
    free(t->state);
    t->state = NULL;
    t->state_count = held + tests;
    QG_TRY(
        qg_calloc((size_t)t->state_count, sizeof *t->state, "the list of saved state", (void **)&t->state));
  }
  memcpy(t->state, optim, (size_t)held * sizeof *t->state);
  if (tests) t->state[held] = qg_selftest_entry(&t->selftest);
  *entries = t->state;
  *count = t->state_count;
  return QG_OK;
}

static qg_status take_snapshot_memory(qg_trainer *t)
{
  const qg_config *c = t->config;
  const qg_state_entry *entries;
  char needed[32];
  int count;
  QG_TRY(qg_trainer_state(t, &entries, &count));
  size_t bytes = qg_ckpt_snapshot_bytes(entries, count);
  bool fits = bytes <= (size_t)c->checkpoint.snapshot_memory;
  QG_CHECK(fits || c->checkpoint.asynchronous != QG_ASYNCHRONOUS_YES, QG_ERR_RESOURCE,
           "checkpoint.asynchronous = yes needs a snapshot of %zu bytes (%s) on a rank; allow it with "
           "checkpoint.snapshot_memory=%zu",
           bytes, qg_format_bytes(needed, sizeof needed, (double)bytes), bytes);
  if (!fits || c->checkpoint.asynchronous == QG_ASYNCHRONOUS_NO) return QG_OK;
  t->snapshot.bytes = bytes;
  return qg_mem_alloc_host(t->mem, QG_OWNER_CHECKPOINT, "snapshot of a checkpoint", bytes,
                           &t->snapshot.memory);
}

static void begin_on_device(void *be, const char *name, int charged_phase)
{
  ((qg_backend *)be)->ops->clock_begin(be, name, charged_phase);
}

static void end_on_device(void *be, int charged_phase)
{
  ((qg_backend *)be)->ops->clock_end(be, charged_phase);
}

static void connect_clock(qg_trainer *t)
{
  qg_optim_set_timers(t->optim, &t->timers);
  if (t->be->ops->clock_begin) t->timers.clock = (qg_device_clock){begin_on_device, end_on_device, t->be};
}

qg_status qg_trainer_read_clock(qg_trainer *t)
{
  if (!t->timers.clock.device) return QG_OK;
  return t->be->ops->clock_read(t->be, t->timers.device_seconds, QG_PHASE_COUNT);
}

qg_status qg_trainer_create(const qg_trainer_request *request, qg_trainer **out)
{
  const qg_config *c = request->config;
  qg_trainer *t;
  QG_TRY(qg_calloc(1, sizeof *t, "trainer", (void **)&t));
  *out = t;
  t->config = c;
  t->be = request->be;
  t->par = request->par;
  t->mem = request->mem;
  t->stage_index = request->stage;
  t->stages = request->stages;
  t->device_pointers = request->device_pointers;
  QG_TRY(qg_pipeline_part(c, t->stage_index, t->stages, &t->part));
  QG_TRY(qg_model_params(&c->model, &t->part, &t->params));
  QG_TRY(create_weights(t));
  QG_TRY(create_optim(t));
  QG_TRY(create_pipeline(t));
  QG_TRY(create_rest(t));
  if (c->checkpoint.selftest) QG_TRY(create_selftest(t));
  QG_TRY(take_snapshot_memory(t));
  if (qg_mem_is_dry(t->mem)) return QG_OK;
  connect_clock(t);
  return qg_pipeline_init(&t->pipeline);
}

void qg_trainer_destroy(qg_trainer *t)
{
  if (!t) return;
  qg_selftest_destroy(&t->selftest);
  qg_tied_destroy(&t->tied);
  qg_tokens_close(t->train_tokens);
  qg_tokens_close(t->valid_tokens);
  qg_pipeline_destroy(&t->pipeline);
  qg_optim_destroy(t->optim);
  qg_weights_destroy(t->weights);
  free(t->params.params);
  free(t->state);
  free(t->reduce);
  free(t->shared);
  free(t->refreshes);
  free(t);
}

/* A validation in other ids measures nothing. */
static qg_status check_tokenizers(const qg_trainer *t)
{
  if (!t->train_tokens || t->config->data.different_tokenizers) return QG_OK;
  const char *train = qg_tokens_get_info(t->train_tokens)->tokenizer_hash,
             *valid = qg_tokens_get_info(t->valid_tokens)->tokenizer_hash;
  QG_CHECK(!train[0] || !valid[0] || strcmp(train, valid) == 0, QG_ERR_INPUT,
           "data.train and data.valid were made with different tokenizers (%.12s... and %.12s...): make them "
           "with one "
           "model, or allow it with data.different_tokenizers=yes",
           train, valid);
  return QG_OK;
}

qg_status qg_trainer_open_data(qg_trainer *t)
{
  const qg_config *c = t->config;
  uint64_t seed = (uint64_t)c->train.seed;
  QG_TRY(qg_pipeline_open_tokens(&t->pipeline, c->data.train, seed, &t->train_tokens));
  if (c->data.valid[0] == '\0') return QG_OK;
  QG_TRY(qg_pipeline_open_tokens(&t->pipeline, c->data.valid, seed + 1, &t->valid_tokens));
  return check_tokenizers(t);
}

qg_status qg_trainer_start_fresh(qg_trainer *t)
{
  QG_TRY(qg_optim_reset(t->optim));
  return qg_weights_initialise(t->weights, qg_optim_staging(t->optim));
}

qg_status qg_trainer_begin(qg_trainer *t, double last_grad_norm)
{
  t->clip_norm = isfinite(last_grad_norm) ? last_grad_norm : 0.0;
  return qg_optim_share_schedule(t->optim, t->par);
}

double qg_trainer_unigram_entropy(qg_trainer *t, int64_t *tokens)
{
  double entropy;
  if (!t->valid_tokens) return NAN;
  *tokens = qg_min_i64(*tokens, qg_tokens_get_info(t->valid_tokens)->tokens);
  return qg_tokens_unigram_entropy(t->valid_tokens, *tokens, &entropy) == QG_OK ? entropy : NAN;
}

const qg_timers *qg_trainer_timers(const qg_trainer *t)
{
  return &t->timers;
}
const qg_partition *qg_trainer_partition(const qg_trainer *t)
{
  return &t->part;
}
qg_optim *qg_trainer_optim(qg_trainer *t)
{
  return t->optim;
}
