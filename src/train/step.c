#include "train/step.h"

#include <math.h>
#include <string.h>

#include "qgalore/base.h"
#include "train/optim_options.h"

static qg_status load_batch(qg_trainer *t, int64_t cursor)
{
  const qg_config *c = t->config;
  if (!t->train_tokens) return QG_OK;
  qg_timer_start(&t->timers, QG_PHASE_DATA);
  QG_TRY(qg_batch_read(t->train_tokens, (uint64_t)c->train.seed, cursor - t->data_begin,
                       c->train.global_batch, c->train.sequence_length, t->pipeline.inputs.host,
                       t->pipeline.targets.host));
  QG_TRY(qg_pipeline_upload(&t->pipeline));
  qg_timer_stop(&t->timers, QG_PHASE_DATA);
  return QG_OK;
}

static int64_t count_targets(const qg_trainer *t)
{
  int64_t count = 0, all = t->config->train.global_batch * t->config->train.sequence_length;
  const int32_t *targets = t->pipeline.targets.host;
  if (targets)
    for (int64_t i = 0; i < all; i++) count += targets[i] >= 0;
  return count;
}

/* Every rank contributes its parameters' sums of squares and zeros elsewhere; the total is added up in
 * parameter order, so that the norm has the same bits on every partition. */
static qg_status reduce(qg_trainer *t, const qg_stop_vote *vote, int64_t targets, qg_step_result *result)
{
  int parameters = t->params.count;
  double *extra = t->reduce + parameters;
  memset(t->reduce, 0, ((size_t)parameters + QG_REDUCE_EXTRA) * sizeof(double));
  qg_timer_start(&t->timers, QG_PHASE_REDUCE);
  QG_TRY(qg_optim_norms(t->optim, t->reduce));
  QG_TRY(qg_pipeline_read_loss(&t->pipeline, &extra[QG_REDUCE_LOSS]));
  extra[QG_REDUCE_TARGETS] = (double)targets;
  extra[QG_REDUCE_VOTES] = qg_stop_vote_ask(vote);
  qg_optim_stats stats = qg_optim_get_stats(t->optim);
  extra[QG_REDUCE_REFRESHES] = (double)stats.refreshes;
  extra[QG_REDUCE_FAILED] = (double)stats.failed;
  extra[QG_REDUCE_SAVED] = t->save && qg_ckpt_is_done(t->save);
  extra[QG_REDUCE_STATE_MODIFIED] = qg_optim_state_modified(t->optim);
  QG_TRY(qg_par_sum(t->par, t->reduce, parameters + QG_REDUCE_EXTRA));
  qg_timer_stop(&t->timers, QG_PHASE_REDUCE);
  double squares = 0.0;
  for (int id = 0; id < parameters; id++) squares += t->reduce[id];
  result->loss = extra[QG_REDUCE_LOSS] / extra[QG_REDUCE_TARGETS];
  result->grad_norm = sqrt(squares);
  result->tokens = (int64_t)extra[QG_REDUCE_TARGETS];
  result->refreshes = (int64_t)extra[QG_REDUCE_REFRESHES];
  result->failed_refreshes = (int64_t)extra[QG_REDUCE_FAILED];
  result->votes = extra[QG_REDUCE_VOTES];
  result->save_phase_done = extra[QG_REDUCE_SAVED] == t->stages;
  result->skipped = !isfinite(result->loss) || !isfinite(result->grad_norm);
  result->partial = result->skipped && extra[QG_REDUCE_STATE_MODIFIED] > 0.0;
  return QG_OK;
}

static void fill_shared(qg_trainer *t, int parameters)
{
  int count;
  const qg_refresh_record *mine = qg_optim_refreshes(t->optim, &count);
  memset(t->shared, 0, QG_SHARED_FIELDS * (size_t)parameters * sizeof *t->shared);
  for (int i = 0; i < count; i++) {
    double *fields = t->shared + QG_SHARED_FIELDS * mine[i].param;
    fields[QG_SHARED_SIMILARITY] = mine[i].similarity;
    fields[QG_SHARED_ENERGY] = mine[i].energy;
    fields[QG_SHARED_INTERVAL] = (double)mine[i].interval;
    fields[QG_SHARED_METHOD] = (double)mine[i].used;
  }
}

/* Everybody hears of every refresh; steps without one send nothing more. */
static qg_status share_refreshes(qg_trainer *t, qg_step_result *result)
{
  int parameters = t->params.count, count = 0;
  if (result->refreshes == 0) return QG_OK;
  fill_shared(t, parameters);
  QG_TRY(qg_par_sum(t->par, t->shared, QG_SHARED_FIELDS * parameters));
  for (int id = 0; id < parameters; id++) {
    const double *fields = t->shared + QG_SHARED_FIELDS * id;
    if (fields[QG_SHARED_INTERVAL] == 0.0) continue;
    t->refreshes[count++] = (qg_refresh_record){id, fields[QG_SHARED_SIMILARITY], fields[QG_SHARED_ENERGY],
                                                (int64_t)fields[QG_SHARED_INTERVAL],
                                                (qg_subspace_method)fields[QG_SHARED_METHOD]};
  }
  result->records = t->refreshes;
  return QG_OK;
}

static double clip_factor(double clip, double norm)
{
  return clip > 0.0 && norm > clip ? clip / norm : 1.0;
}

static qg_status finish_gradients(qg_trainer *t)
{
  qg_timer_start(&t->timers, QG_PHASE_REFRESH);
  QG_TRY(qg_tied_exchange(&t->tied, t->optim));
  QG_TRY(qg_optim_finish_gradients(t->optim));
  QG_TRY(qg_optim_refresh_distributed(t->optim, t->par));
  qg_timer_stop(&t->timers, QG_PHASE_REFRESH);
  return QG_OK;
}

/* Fused updates came before the norm of this step was known, so all of that step follows the norm before. */
static double choose_clip(const qg_trainer *t, double norm)
{
  double clip = t->config->optimizer.grad_clip;
  return clip_factor(clip, qg_config_is_fused(t->config) ? t->clip_norm : norm);
}

static qg_status apply(qg_trainer *t, qg_step_result *result)
{
  if (result->skipped) return QG_OK;
  qg_timer_start(&t->timers, QG_PHASE_UPDATE);
  QG_TRY(qg_optim_apply(t->optim, result->lr, choose_clip(t, result->grad_norm)));
  t->clip_norm = result->grad_norm;
  QG_TRY(t->be->ops->sync(t->be));
  qg_timer_stop(&t->timers, QG_PHASE_UPDATE);
  return QG_OK;
}

qg_status qg_train_step(qg_trainer *t, int64_t step, int64_t cursor, const qg_stop_vote *vote,
                        qg_step_result *result)
{
  qg_schedule schedule = qg_schedule_from_config(t->config);
  *result = (qg_step_result){.lr = qg_learning_rate(&schedule, step)};
  QG_TRY(load_batch(t, cursor));
  QG_TRY(qg_pipeline_clear_loss(&t->pipeline));
  QG_TRY(qg_optim_begin(t->optim, step));
  qg_optim_set_rates(t->optim, result->lr, choose_clip(t, 0.0));
  int64_t targets = count_targets(t);
  QG_TRY(qg_pipeline_run(&t->pipeline, targets > 0 ? 1.0f / (float)targets : 0.0f));
  QG_TRY(finish_gradients(t));
  QG_TRY(reduce(t, vote, targets, result));
  QG_TRY(share_refreshes(t, result));
  QG_TRY(apply(t, result));
  return qg_trainer_read_clock(t);
}

qg_status qg_train_excluded_step(qg_trainer *t, const qg_stop_vote *vote, qg_step_result *result)
{
  double sums[] = {qg_stop_vote_ask(vote), t->save && qg_ckpt_is_done(t->save)};
  qg_timer_start(&t->timers, QG_PHASE_REDUCE);
  QG_TRY(qg_par_sum(t->par, sums, QG_COUNT_OF(sums)));
  qg_timer_stop(&t->timers, QG_PHASE_REDUCE);
  result->votes = sums[0];
  result->save_phase_done = sums[1] == t->stages;
  result->refreshes = result->failed_refreshes = 0;
  result->records = NULL;
  result->partial = false;
  return QG_OK;
}

/* Goes through the same buffers in pieces of the training batch. */
qg_status qg_validate(qg_trainer *t, const qg_validation_observer *observer, qg_validation_result *result)
{
  qg_timer_start(&t->timers, QG_PHASE_VALIDATE);
  QG_TRY(qg_evaluate(&t->pipeline, t->valid_tokens, t->config->train.validate_sequences, observer, result));
  qg_timer_stop(&t->timers, QG_PHASE_VALIDATE);
  return qg_trainer_read_clock(t);
}
