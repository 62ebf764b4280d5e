#include "train/pipeline.h"

#include <stdlib.h>

#include "qgalore/base.h"

/* --- Memory --- */

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

/* Every stage computes all of them. */
qg_status qg_pipeline_part(const qg_config *c, int index, int stages, qg_partition *out)
{
  const int64_t *layers = c->parallel.layers_per_stage_count ? c->parallel.layers_per_stage : NULL;
  qg_partition *parts = NULL;
  qg_status status;
  QG_TRY_OUT(check_stages(c, stages));
  QG_TRY_OUT(qg_calloc((size_t)stages, sizeof *parts, "partition", (void **)&parts));
  QG_TRY_OUT(qg_model_partition(&c->model, c->train.sequence_length, stages, layers, parts));
  *out = parts[index];
out:
  free(parts);
  return status;
}

static int64_t batch_bytes(const qg_pipeline *p)
{
  return (int64_t)qg_dtype_bytes(QG_I32, p->use.micro_batches * p->micro_tokens);
}

static qg_status take_tokens(const qg_pipeline *p, bool wanted, qg_token_batch *batch)
{
  const char *what = "tokens of one step";
  size_t bytes = (size_t)batch_bytes(p);
  if (!wanted) return QG_OK;
  QG_TRY(qg_mem_alloc_host(p->use.mem, QG_OWNER_DATA, what, bytes, (void **)&batch->host));
  return qg_mem_alloc(p->use.mem, QG_OWNER_DATA, what, bytes, (void **)&batch->device);
}

static qg_status open_channel(const qg_pipeline *p, int peer, int tag, bool receives, qg_channel *channel)
{
  qg_channel_request request = {.peer = peer < p->use.stages ? peer : -1,
                                .tag = tag,
                                .receives = receives,
                                .device_pointers = p->use.device_pointers,
                                .type = p->use.be->compute,
                                .elements = p->micro_tokens * p->use.shape->hidden_size};
  return qg_channel_create(p->use.mem, p->use.par, p->use.be, &request, channel);
}

static qg_status open_forward(qg_pipeline *p)
{
  int up = p->use.index - 1, down = p->use.index + 1;
  QG_TRY(open_channel(p, up, QG_TAG_FORWARD, true, &p->forward_in));
  QG_TRY(open_channel(p, down, QG_TAG_FORWARD, false, &p->forward_out));
  qg_channel_join(&p->forward_in, &p->forward_out);
  return QG_OK;
}

static qg_status open_backward(qg_pipeline *p)
{
  int up = p->use.index - 1, down = p->use.index + 1;
  QG_TRY(open_channel(p, down, QG_TAG_BACKWARD, true, &p->backward_in));
  QG_TRY(open_channel(p, up, QG_TAG_BACKWARD, false, &p->backward_out));
  qg_channel_join(&p->forward_in, &p->backward_in);
  qg_channel_join(&p->forward_in, &p->backward_out);
  if (down == p->use.stages) return QG_OK;
  return qg_mem_view(p->use.mem, QG_OWNER_TRANSFER, "gradient of the stage's output", p->use.be->compute,
                     p->micro_tokens, p->use.shape->hidden_size, &p->d_out);
}

static qg_status take_stage(qg_pipeline *p)
{
  const qg_pipeline_request *use = &p->use;
  QG_TRY(qg_stage_create(use->mem, use->be, use->shape, &use->part, &use->options, &p->stage));
  qg_workload workload = qg_stage_workload(use->shape, &use->options);
  return qg_backend_reserve(use->mem, use->be, &workload);
}

static qg_status plan_schedule(qg_pipeline *p)
{
  const qg_pipeline_request *use = &p->use;
  QG_TRY(
      qg_calloc(2 * (size_t)use->micro_batches, sizeof(qg_op), "pipeline schedule", (void **)&p->schedule));
  qg_pipeline_schedule_1f1b(use->stages, use->index, use->micro_batches, p->schedule);
  return QG_OK;
}

qg_status qg_pipeline_create(const qg_pipeline_request *request, const qg_weight_reader *weights,
                             const qg_gradient_port *gradients, qg_pipeline *p)
{
  qg_stage_options *options = &p->use.options;
  *p = (qg_pipeline){.use = *request};
  p->micro_tokens = options->micro_batch * options->sequence_length;
  options->forward_only = !gradients;
  options->slots =
      gradients ? qg_pipeline_schedule_in_flight(request->stages, request->index, request->micro_batches) : 1;
  qg_parameter_trace_make(weights, gradients, request->timers, &p->trace);
  QG_TRY(take_stage(p));
  QG_TRY(open_forward(p));
  if (gradients) QG_TRY(open_backward(p));
  QG_TRY(take_tokens(p, qg_pipeline_is_first(p), &p->inputs));
  QG_TRY(take_tokens(p, qg_pipeline_is_last(p), &p->targets));
  if (qg_pipeline_is_last(p))
    QG_TRY(qg_mem_alloc(request->mem, QG_OWNER_WORKSPACE, "loss", sizeof(double), (void **)&p->loss));
  return gradients ? plan_schedule(p) : QG_OK;
}

void qg_pipeline_destroy(qg_pipeline *p)
{
  qg_channel_destroy(&p->forward_in);
  qg_channel_destroy(&p->forward_out);
  qg_channel_destroy(&p->backward_in);
  qg_channel_destroy(&p->backward_out);
  qg_stage_destroy(p->stage);
  free(p->schedule);
}

qg_status qg_pipeline_init(qg_pipeline *p)
{
  return qg_stage_init(p->stage);
}

/* --- Tokens and loss --- */

qg_status qg_pipeline_open_tokens(const qg_pipeline *p, const char *path, uint64_t seed, qg_tokens **tokens)
{
  int64_t length = p->use.options.sequence_length;
  *tokens = NULL;
  if (!qg_pipeline_is_first(p) && !qg_pipeline_is_last(p)) return QG_OK;
  QG_TRY(qg_tokens_open(path, p->use.shape->vocab_size, seed, tokens));
  QG_CHECK(qg_tokens_sequences(*tokens, length) > 0, QG_ERR_INPUT,
           "%s holds %lld tokens, which is less than one sequence of train.sequence_length = %lld; "
           "use a longer text or shorter sequences",
           path, (long long)qg_tokens_get_info(*tokens)->tokens, (long long)length);
  return QG_OK;
}

static qg_status upload(const qg_pipeline *p, const qg_token_batch *batch)
{
  qg_backend *be = p->use.be;
  qg_backend_name(be, "tokens of one step");
  return batch->host ? be->ops->copy_in(be, batch->device, batch->host, (size_t)batch_bytes(p)) : QG_OK;
}

qg_status qg_pipeline_upload(const qg_pipeline *p)
{
  QG_TRY(upload(p, &p->inputs));
  return upload(p, &p->targets);
}

qg_status qg_pipeline_clear_loss(const qg_pipeline *p)
{
  return p->loss ? p->use.be->ops->zero(p->use.be, p->loss, sizeof *p->loss) : QG_OK;
}

qg_status qg_pipeline_read_loss(const qg_pipeline *p, double *loss)
{
  *loss = 0.0;
  qg_backend_name(p->use.be, "loss");
  return p->loss ? p->use.be->ops->copy_out(p->use.be, loss, p->loss, sizeof *loss) : QG_OK;
}

/* --- Passes --- */

static int32_t *micro_batch_of(const qg_pipeline *p, const qg_token_batch *batch, int micro_batch)
{
  return batch->device ? batch->device + micro_batch * p->micro_tokens : NULL;
}

static qg_status timed_receive(qg_pipeline *p, qg_channel *channel, void *device)
{
  qg_timer_start(p->use.timers, QG_PHASE_WAIT);
  qg_backend_name(p->use.be, "activations or gradients of another stage");
  qg_status status = qg_channel_receive(channel, device);
  qg_timer_stop(p->use.timers, QG_PHASE_WAIT);
  return status;
}

static qg_status timed_send(qg_pipeline *p, qg_channel *channel, const void *device)
{
  qg_timer_start(p->use.timers, QG_PHASE_WAIT);
  qg_status status = qg_channel_send(channel, device);
  qg_timer_stop(p->use.timers, QG_PHASE_WAIT);
  return status;
}

/* qg_stage_forward, or qg_stage_evaluate. */
typedef qg_status (*stage_pass)(qg_stage *, const qg_weight_reader *, int slot, const int32_t *ids,
                                qg_view *out);

static qg_status forward(qg_pipeline *p, stage_pass pass, int micro_batch, int slot)
{
  qg_view out;
  p->use.timers->micro_batch = micro_batch;
  if (!qg_pipeline_is_first(p)) QG_TRY(timed_receive(p, &p->forward_in, qg_stage_input(p->stage, slot).data));
  qg_timer_start(p->use.timers, QG_PHASE_FORWARD);
  QG_TRY(pass(p->stage, &p->trace.weights, slot, micro_batch_of(p, &p->inputs, micro_batch), &out));
  qg_timer_stop(p->use.timers, QG_PHASE_FORWARD);
  return qg_pipeline_is_last(p) ? QG_OK : timed_send(p, &p->forward_out, out.data);
}

/* gradients NULL: the loss alone. */
static qg_status loss(qg_pipeline *p, int micro_batch, int slot, const qg_gradient_port *gradients,
                      float grad_scale)
{
  if (!qg_pipeline_is_last(p)) return QG_OK;
  qg_timer_start(p->use.timers, QG_PHASE_LOSS);
  QG_TRY(qg_stage_loss(p->stage, &p->trace.weights, gradients, slot,
                       micro_batch_of(p, &p->targets, micro_batch), grad_scale, p->loss));
  qg_timer_stop(p->use.timers, QG_PHASE_LOSS);
  return QG_OK;
}

static void before_gradients(const qg_pipeline *p)
{
  if (p->hooks.before_gradients) p->hooks.before_gradients(p->hooks.context);
}

static qg_status backward(qg_pipeline *p, int micro_batch, int slot)
{
  const qg_pipeline_hooks *hooks = &p->hooks;
  qg_view d_in, incoming = qg_pipeline_is_last(p) ? qg_stage_output_gradient(p->stage, slot) : p->d_out;
  p->use.timers->micro_batch = micro_batch;
  QG_TRY(qg_stage_expect_backward(p->stage, slot));
  if (!qg_pipeline_is_last(p)) QG_TRY(timed_receive(p, &p->backward_in, p->d_out.data));
  before_gradients(p);
  qg_timer_start(p->use.timers, QG_PHASE_BACKWARD);
  QG_TRY(hooks->incoming(hooks->context, incoming));
  QG_TRY(qg_stage_backward(p->stage, &p->trace.weights, &p->trace.gradients, slot,
                           micro_batch_of(p, &p->inputs, micro_batch), p->d_out, &d_in));
  QG_TRY(hooks->end_micro_batch(hooks->context, micro_batch));
  qg_timer_stop(p->use.timers, QG_PHASE_BACKWARD);
  return qg_pipeline_is_first(p) ? QG_OK : timed_send(p, &p->backward_out, d_in.data);
}

static qg_status begin(qg_pipeline *p, int forwards, int backwards)
{
  QG_TRY(qg_channel_begin(&p->forward_in, forwards));
  QG_TRY(qg_channel_begin(&p->forward_out, forwards));
  if (!p->schedule) return QG_OK;
  QG_TRY(qg_channel_begin(&p->backward_in, backwards));
  return qg_channel_begin(&p->backward_out, backwards);
}

static qg_status drain(qg_pipeline *p)
{
  qg_timer_start(p->use.timers, QG_PHASE_WAIT);
  QG_TRY(qg_channel_drain(&p->forward_out));
  if (p->schedule) QG_TRY(qg_channel_drain(&p->backward_out));
  qg_timer_stop(p->use.timers, QG_PHASE_WAIT);
  return QG_OK;
}

qg_status qg_pipeline_run(qg_pipeline *p, float grad_scale)
{
  QG_TRY(begin(p, p->use.micro_batches, p->use.micro_batches));
  for (int i = 0; i < 2 * p->use.micro_batches; i++) {
    int micro_batch = p->schedule[i].micro_batch, slot = micro_batch % p->use.options.slots;
    if (p->schedule[i].kind == QG_OP_FORWARD) {
      QG_TRY(forward(p, qg_stage_forward, micro_batch, slot));
      if (qg_pipeline_is_last(p)) before_gradients(p);
      QG_TRY(loss(p, micro_batch, slot, &p->trace.gradients, grad_scale));
    } else {
      QG_TRY(backward(p, micro_batch, slot));
    }
  }
  return drain(p);
}

qg_status qg_pipeline_evaluate(qg_pipeline *p, int micro_batches)
{
  QG_TRY(begin(p, micro_batches, 0));
  for (int i = 0; i < micro_batches; i++) {
    QG_TRY(forward(p, qg_stage_evaluate, i, 0));
    QG_TRY(loss(p, i, 0, NULL, 0.0f));
  }
  return drain(p);
}
