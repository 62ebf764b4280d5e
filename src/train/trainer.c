#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"
#include "train/step.h"
#include "train/trainer.h"

static qg_status token_batch(qg_trainer *t, bool wanted, qg_token_batch *batch)
{
  if (!wanted) return QG_OK;
  size_t bytes = qg_dtype_bytes(QG_I32, t->config->train.global_batch * t->config->train.sequence_length);
  QG_TRY(qg_mem_alloc_host(t->mem, QG_OWNER_DATA, "tokens of one step", bytes, (void **)&batch->host));
  return qg_mem_alloc(t->mem, QG_OWNER_DATA, "tokens of one step", bytes, (void **)&batch->device);
}

qg_status qg_trainer_open_channel(qg_trainer *t, int peer, int tag, bool receives, int64_t tokens,
                                  qg_channel *channel)
{
  qg_channel_request request = {.peer = peer < t->stages ? peer : -1,
                                .tag = tag,
                                .receives = receives,
                                .device_pointers = t->device_pointers,
                                .type = t->be->compute,
                                .elements = tokens * t->config->model.hidden_size};
  return qg_channel_create(t->mem, t->par, t->be, &request, channel);
}

static qg_status create_channels(qg_trainer *t)
{
  int up = t->stage_index - 1, down = t->stage_index + 1;
  int64_t tokens = t->micro_tokens;
  QG_TRY(qg_trainer_open_channel(t, up, QG_TAG_FORWARD, true, tokens, &t->forward_in));
  QG_TRY(qg_trainer_open_channel(t, down, QG_TAG_FORWARD, false, tokens, &t->forward_out));
  QG_TRY(qg_trainer_open_channel(t, down, QG_TAG_BACKWARD, true, tokens, &t->backward_in));
  QG_TRY(qg_trainer_open_channel(t, up, QG_TAG_BACKWARD, false, tokens, &t->backward_out));
  qg_channel_join(&t->forward_in, &t->forward_out);
  qg_channel_join(&t->forward_in, &t->backward_in);
  qg_channel_join(&t->forward_in, &t->backward_out);
  if (down == t->stages) return QG_OK;
  return qg_mem_view(t->mem, QG_OWNER_TRANSFER, "gradient of the stage's output", t->be->compute,
                     t->micro_tokens, t->config->model.hidden_size, &t->d_out);
}

static qg_status create_stage(qg_trainer *t)
{
  const qg_config *c = t->config;
  qg_stage_options options = {
      .micro_batch = c->train.micro_batch,
      .sequence_length = c->train.sequence_length,
      .loss_rows = c->train.loss_rows,
      .checkpointing = c->train.activation_checkpointing,
      .offload = c->train.activation_offload,
      .graphs = c->backend.graphs,
      .slots = qg_schedule_in_flight(t->stages, t->stage_index, t->micro_batches),
  };
  QG_TRY(qg_stage_create(t->mem, t->be, &c->model, &t->part, &options, &t->stage));
  qg_workload workload = qg_stage_workload(&c->model, &options);
  return qg_backend_reserve(t->mem, t->be, &workload);
}

static qg_status create_optim(qg_trainer *t)
{
  qg_optim_options options = qg_config_optim_options(t->config, t->be->threads);
  options.this_rank = t->stage_index;
  options.all_ranks = t->stages;
  QG_TRY(qg_optim_create(t->mem, t->be, &t->config->model, &t->part, &options, t->micro_tokens,
                         t->micro_batches, &t->optim));
  qg_noting_port_make(qg_optim_port(t->optim), &t->timers, &t->port);
  return QG_OK;
}

static qg_status create_rest(qg_trainer *t)
{
  size_t parameters = (size_t)qg_param_count(&t->config->model);
  QG_TRY(token_batch(t, qg_trainer_is_first(t), &t->inputs));
  QG_TRY(token_batch(t, qg_trainer_is_last(t), &t->targets));
  if (qg_trainer_is_last(t))
    QG_TRY(qg_mem_alloc(t->mem, QG_OWNER_WORKSPACE, "loss", sizeof(double), (void **)&t->loss));
  QG_TRY(qg_tied_create(t));
  QG_TRY(qg_calloc(parameters + QG_REDUCE_EXTRA, sizeof(double), "sums of squares", (void **)&t->reduce));
  QG_TRY(qg_calloc(QG_SHARED_FIELDS * parameters, sizeof(double), "shared records", (void **)&t->shared));
  QG_TRY(qg_calloc(parameters, sizeof *t->refreshes, "records of refreshes", (void **)&t->refreshes));
  return qg_calloc(2 * (size_t)t->micro_batches, sizeof(qg_op), "pipeline schedule", (void **)&t->schedule);
}

qg_status qg_trainer_state(qg_trainer *t, const qg_state_entry **entries, int *count)
{
  const qg_state_entry *optim;
  int held, probes = t->probe.stage ? 1 : 0;
  QG_TRY(qg_optim_state(t->optim, &optim, &held));
  if (!t->state) {
    t->state_count = held + probes;
    QG_TRY(
        qg_calloc((size_t)t->state_count, sizeof *t->state, "the list of saved state", (void **)&t->state));
  }
  memcpy(t->state, optim, (size_t)held * sizeof *t->state);
  if (probes) t->state[held] = qg_probe_entry(t);
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

static qg_status check_stages(const qg_config *c, int stages)
{
  int64_t pipeline = c->parallel.pipeline, listed = c->parallel.layers_per_stage_count;
  QG_CHECK(pipeline == 0 || pipeline == stages, QG_ERR_INPUT,
           "parallel.pipeline = %lld, but there are %d ranks: start as many, or leave the key out",
           (long long)pipeline, stages);
  QG_CHECK(listed == 0 || listed == stages, QG_ERR_INPUT,
           "parallel.layers_per_stage lists %lld stages, but there are %d ranks: list a number for each, or "
           "leave the key out",
           (long long)listed, stages);
  return QG_OK;
}

/* The partition of this stage; every stage computes all of them. */
static qg_status take_partition(qg_trainer *t)
{
  const qg_config *c = t->config;
  qg_partition *parts = NULL;
  qg_status status;
  QG_TRY_OUT(check_stages(c, t->stages));
  QG_TRY_OUT(qg_calloc((size_t)t->stages, sizeof *parts, "partition", (void **)&parts));
  QG_TRY_OUT(qg_model_partition(&c->model, c->train.sequence_length, t->stages,
                                c->parallel.layers_per_stage_count ? c->parallel.layers_per_stage : NULL,
                                parts));
  t->part = parts[t->stage_index];
out:
  free(parts);
  return status;
}

static void begin_on_device(void *be, const char *name, int phase)
{
  ((qg_backend *)be)->ops->clock_begin(be, name, phase);
}

static void end_on_device(void *be, int phase)
{
  ((qg_backend *)be)->ops->clock_end(be, phase);
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
  t->micro_batches = (int)(c->train.global_batch / c->train.micro_batch);
  t->micro_tokens = c->train.micro_batch * c->train.sequence_length;
  QG_TRY(take_partition(t));
  QG_TRY(create_optim(t));
  QG_TRY(create_stage(t));
  QG_TRY(create_channels(t));
  QG_TRY(create_rest(t));
  if (c->checkpoint.probe) QG_TRY(qg_probe_create(t));
  QG_TRY(take_snapshot_memory(t));
  qg_schedule_1f1b(t->stages, t->stage_index, t->micro_batches, t->schedule);
  if (qg_mem_is_dry(t->mem)) return QG_OK;
  connect_clock(t);
  return qg_stage_init(t->stage);
}

qg_status qg_trainer_reserve(const qg_trainer_request *request)
{
  qg_trainer_request dry = *request;
  qg_trainer *trainer = NULL;
  qg_status status;
  dry.par = NULL;
  dry.mem = NULL;
  QG_TRY_OUT(qg_mem_create(NULL, &dry.mem));
  QG_TRY_OUT(qg_trainer_create(&dry, &trainer));
  QG_TRY_OUT(qg_mem_reserve(request->mem, dry.mem));
out:
  qg_trainer_destroy(trainer);
  qg_mem_destroy(dry.mem);
  return status;
}

void qg_trainer_destroy(qg_trainer *t)
{
  if (!t) return;
  qg_probe_destroy(&t->probe);
  qg_channel_destroy(&t->forward_in);
  qg_channel_destroy(&t->forward_out);
  qg_channel_destroy(&t->backward_in);
  qg_channel_destroy(&t->backward_out);
  qg_tied_destroy(t);
  qg_tokens_close(t->train_tokens);
  qg_tokens_close(t->valid_tokens);
  qg_stage_destroy(t->stage);
  qg_optim_destroy(t->optim);
  free(t->state);
  free(t->schedule);
  free(t->reduce);
  free(t->shared);
  free(t->refreshes);
  free(t);
}

static bool reads_tokens(const qg_trainer *t)
{
  return qg_trainer_is_first(t) || qg_trainer_is_last(t);
}

static qg_status check_length(const qg_trainer *t, const qg_tokens *tokens, const char *path)
{
  QG_CHECK(qg_tokens_sequences(tokens, t->config->train.sequence_length) > 0, QG_ERR_INPUT,
           "%s holds %lld tokens, which is less than one sequence of train.sequence_length = %lld; "
           "use a longer text or shorter sequences",
           path, (long long)qg_tokens_get_info(tokens)->tokens, (long long)t->config->train.sequence_length);
  return QG_OK;
}

/* Rank 0 opens the files on every arrangement (it holds the first stage), so that everyone hears of a bad
 * one. */
qg_status qg_trainer_open_data(qg_trainer *t)
{
  const qg_config *c = t->config;
  uint64_t seed = (uint64_t)c->train.seed;
  if (!reads_tokens(t)) return QG_OK;
  QG_TRY(qg_tokens_open(c->data.train, c->model.vocab_size, seed, &t->train_tokens));
  QG_TRY(check_length(t, t->train_tokens, c->data.train));
  if (c->data.valid[0] == '\0') return QG_OK;
  QG_TRY(qg_tokens_open(c->data.valid, c->model.vocab_size, seed + 1, &t->valid_tokens));
  return check_length(t, t->valid_tokens, c->data.valid);
}

qg_status qg_trainer_begin(qg_trainer *t, double last_grad_norm)
{
  t->clip_norm = isfinite(last_grad_norm) ? last_grad_norm : 0.0;
  return qg_optim_share_schedule(t->optim, t->par);
}

double qg_trainer_unigram_entropy(qg_trainer *t)
{
  double entropy;
  if (!t->valid_tokens || qg_tokens_unigram_entropy(t->valid_tokens, &entropy) != QG_OK) return NAN;
  return entropy;
}
