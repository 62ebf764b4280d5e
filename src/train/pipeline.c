/* The executor: walks a stage's list of operations and moves activations and gradients between neighbours. */
#include "qgalore/base.h"
#include "train/trainer.h"

static int32_t *micro_batch_of(const qg_trainer *t, const qg_token_batch *batch, int micro_batch)
{
  return batch->device ? batch->device + micro_batch * t->micro_tokens : NULL;
}

static int slot_of(const qg_trainer *t, int micro_batch)
{
  return micro_batch % qg_pipeline_schedule_in_flight(t->stages, t->stage_index, t->micro_batches);
}

static qg_status timed_receive(qg_trainer *t, qg_channel *channel, void *device)
{
  qg_timer_start(&t->timers, QG_PHASE_WAIT);
  qg_backend_name(t->be, "activations or gradients of another stage");
  qg_status status = qg_channel_receive(channel, device);
  qg_timer_stop(&t->timers, QG_PHASE_WAIT);
  return status;
}

static qg_status timed_send(qg_trainer *t, qg_channel *channel, const void *device)
{
  qg_timer_start(&t->timers, QG_PHASE_WAIT);
  qg_status status = qg_channel_send(channel, device);
  qg_timer_stop(&t->timers, QG_PHASE_WAIT);
  return status;
}

/* qg_stage_forward, or qg_stage_evaluate. */
typedef qg_status (*stage_pass)(qg_stage *, const qg_param_port *, int slot, const int32_t *ids,
                                qg_view *out);

static qg_status forward(qg_trainer *t, stage_pass pass, int micro_batch, int slot)
{
  t->timers.micro_batch = micro_batch;
  if (!qg_trainer_is_first(t)) QG_TRY(timed_receive(t, &t->forward_in, qg_stage_input(t->stage, slot).data));
  qg_view out;
  qg_timer_start(&t->timers, QG_PHASE_FORWARD);
  QG_TRY(pass(t->stage, &t->port.port, slot, micro_batch_of(t, &t->inputs, micro_batch), &out));
  qg_timer_stop(&t->timers, QG_PHASE_FORWARD);
  if (!qg_trainer_is_last(t)) QG_TRY(timed_send(t, &t->forward_out, out.data));
  return QG_OK;
}

/* From its first gradient on a step changes the state. */
static void await_copy(qg_trainer *t)
{
  if (!t->save) return;
  qg_timer_start(&t->timers, QG_PHASE_CHECKPOINT);
  qg_ckpt_await_copy(t->save);
  qg_timer_stop(&t->timers, QG_PHASE_CHECKPOINT);
}

static qg_status loss(qg_trainer *t, int micro_batch, int slot, float grad_scale)
{
  if (!qg_trainer_is_last(t)) return QG_OK;
  await_copy(t);
  qg_timer_start(&t->timers, QG_PHASE_LOSS);
  QG_TRY(qg_stage_loss(t->stage, &t->port.port, slot, micro_batch_of(t, &t->targets, micro_batch), grad_scale,
                       t->loss));
  qg_timer_stop(&t->timers, QG_PHASE_LOSS);
  return QG_OK;
}

static qg_view entering(const qg_trainer *t, int slot)
{
  return qg_trainer_is_last(t) ? qg_stage_output_gradient(t->stage, slot) : t->d_out;
}

static qg_status backward(qg_trainer *t, int micro_batch, int slot)
{
  t->timers.micro_batch = micro_batch;
  QG_TRY(qg_stage_expect_backward(t->stage, slot));
  if (!qg_trainer_is_last(t)) QG_TRY(timed_receive(t, &t->backward_in, t->d_out.data));
  await_copy(t);
  qg_view d_in;
  qg_timer_start(&t->timers, QG_PHASE_BACKWARD);
  QG_TRY(qg_optim_enter(t->optim, entering(t, slot)));
  QG_TRY(qg_stage_backward(t->stage, &t->port.port, slot, micro_batch_of(t, &t->inputs, micro_batch),
                           t->d_out, &d_in));
  QG_TRY(qg_optim_end_micro_batch(t->optim, micro_batch));
  qg_timer_stop(&t->timers, QG_PHASE_BACKWARD);
  if (!qg_trainer_is_first(t)) QG_TRY(timed_send(t, &t->backward_out, d_in.data));
  return QG_OK;
}

static qg_status begin(qg_trainer *t, int forwards, int backwards)
{
  QG_TRY(qg_channel_begin(&t->forward_in, forwards));
  QG_TRY(qg_channel_begin(&t->forward_out, forwards));
  QG_TRY(qg_channel_begin(&t->backward_in, backwards));
  return qg_channel_begin(&t->backward_out, backwards);
}

static qg_status drain(qg_trainer *t)
{
  qg_timer_start(&t->timers, QG_PHASE_WAIT);
  QG_TRY(qg_channel_drain(&t->forward_out));
  QG_TRY(qg_channel_drain(&t->backward_out));
  qg_timer_stop(&t->timers, QG_PHASE_WAIT);
  return QG_OK;
}

qg_status qg_pipeline_run(qg_trainer *t, float grad_scale)
{
  QG_TRY(begin(t, t->micro_batches, t->micro_batches));
  for (int i = 0; i < 2 * t->micro_batches; i++) {
    int micro_batch = t->schedule[i].micro_batch, slot = slot_of(t, micro_batch);
    if (t->schedule[i].kind == QG_OP_FORWARD) {
      QG_TRY(forward(t, qg_stage_forward, micro_batch, slot));
      QG_TRY(loss(t, micro_batch, slot, grad_scale));
    } else {
      QG_TRY(backward(t, micro_batch, slot));
    }
  }
  return drain(t);
}

qg_status qg_pipeline_evaluate(qg_trainer *t, int micro_batches)
{
  QG_TRY(begin(t, micro_batches, 0));
  for (int i = 0; i < micro_batches; i++) {
    QG_TRY(forward(t, qg_stage_evaluate, i, 0));
    QG_TRY(loss(t, i, 0, 0.0f));
  }
  return drain(t);
}
