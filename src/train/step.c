#include "train/step.h"

#include <math.h>
#include <string.h>

#include "qgalore/base.h"

static qg_status upload(qg_trainer *t, const qg_token_batch *batch)
{
  size_t bytes = qg_dtype_bytes(QG_I32, t->config->train.global_batch * t->config->train.sequence_length);
  qg_backend_name(t->be, "tokens of one step");
  return batch->host ? t->be->ops->copy_in(t->be, batch->device, batch->host, bytes) : QG_OK;
}

static qg_status load_batch(qg_trainer *t, int64_t cursor)
{
  const qg_config *c = t->config;
  if (!t->train_tokens) return QG_OK;
  qg_timer_start(&t->timers, QG_PHASE_DATA);
  QG_TRY(qg_batch_read(t->train_tokens, (uint64_t)c->train.seed, cursor, c->train.global_batch,
                       c->train.sequence_length, t->inputs.host, t->targets.host));
  QG_TRY(upload(t, &t->inputs));
  QG_TRY(upload(t, &t->targets));
  qg_timer_stop(&t->timers, QG_PHASE_DATA);
  return QG_OK;
}

static int64_t count_targets(const qg_trainer *t)
{
  int64_t count = 0, all = t->config->train.global_batch * t->config->train.sequence_length;
  if (t->targets.host)
    for (int64_t i = 0; i < all; i++) count += t->targets.host[i] >= 0;
  return count;
}

static qg_status clear_loss(qg_trainer *t)
{
  return t->loss ? t->be->ops->zero(t->be, t->loss, sizeof(double)) : QG_OK;
}

static qg_status read_loss(qg_trainer *t, double *loss)
{
  *loss = 0.0;
  qg_backend_name(t->be, "loss");
  return t->loss ? t->be->ops->copy_out(t->be, loss, t->loss, sizeof(double)) : QG_OK;
}

/* Every rank contributes its parameters' sums of squares and zeros elsewhere; the total is added up in
 * parameter order, so that the norm has the same bits on every partition. */
static qg_status reduce(qg_trainer *t, const qg_wish *wish, int64_t targets, qg_step_result *result)
{
  int parameters = qg_param_count(&t->config->model);
  double *extra = t->reduce + parameters;
  memset(t->reduce, 0, ((size_t)parameters + QG_REDUCE_EXTRA) * sizeof(double));
  qg_timer_start(&t->timers, QG_PHASE_REDUCE);
  QG_TRY(qg_optim_norms(t->optim, t->reduce));
  QG_TRY(read_loss(t, &extra[QG_REDUCE_LOSS]));
  extra[QG_REDUCE_TARGETS] = (double)targets;
  extra[QG_REDUCE_WISHES] = wish ? wish->ask(wish->context) : 0.0;
  qg_optim_stats stats = qg_optim_get_stats(t->optim);
  extra[QG_REDUCE_REFRESHES] = (double)stats.refreshes;
  extra[QG_REDUCE_FAILED] = (double)stats.failed;
  extra[QG_REDUCE_SAVED] = t->save && qg_ckpt_is_done(t->save);
  extra[QG_REDUCE_TOUCHED] = qg_optim_touched(t->optim);
  QG_TRY(qg_par_sum(t->par, t->reduce, parameters + QG_REDUCE_EXTRA));
  qg_timer_stop(&t->timers, QG_PHASE_REDUCE);
  double squares = 0.0;
  for (int id = 0; id < parameters; id++) squares += t->reduce[id];
  result->loss = extra[QG_REDUCE_LOSS] / extra[QG_REDUCE_TARGETS];
  result->grad_norm = sqrt(squares);
  result->tokens = (int64_t)extra[QG_REDUCE_TARGETS];
  result->refreshes = (int64_t)extra[QG_REDUCE_REFRESHES];
  result->failed_refreshes = (int64_t)extra[QG_REDUCE_FAILED];
  result->wishes = extra[QG_REDUCE_WISHES];
  result->save_moves = extra[QG_REDUCE_SAVED] == t->stages;
  result->skipped = !isfinite(result->loss) || !isfinite(result->grad_norm);
  result->partial = result->skipped && extra[QG_REDUCE_TOUCHED] > 0.0;
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
  int parameters = qg_param_count(&t->config->model), count = 0;
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
  QG_TRY(qg_tied_exchange(t));
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

qg_status qg_train_step(qg_trainer *t, int64_t step, int64_t cursor, const qg_wish *wish,
                        qg_step_result *result)
{
  const qg_config *c = t->config;
  *result = (qg_step_result){.lr = qg_learning_rate(c->optimizer.lr, step, c->optimizer.warmup_steps,
                                                    c->train.steps, c->optimizer.min_lr_ratio)};
  QG_TRY(load_batch(t, cursor));
  QG_TRY(clear_loss(t));
  QG_TRY(qg_optim_begin(t->optim, step));
  qg_optim_set_rates(t->optim, result->lr, choose_clip(t, 0.0));
  int64_t targets = count_targets(t);
  QG_TRY(qg_pipeline_run(t, targets > 0 ? 1.0f / (float)targets : 0.0f));
  QG_TRY(finish_gradients(t));
  QG_TRY(reduce(t, wish, targets, result));
  QG_TRY(share_refreshes(t, result));
  QG_TRY(apply(t, result));
  return qg_trainer_read_clock(t);
}

qg_status qg_train_leave_out(qg_trainer *t, const qg_wish *wish, qg_step_result *result)
{
  double sums[] = {wish ? wish->ask(wish->context) : 0.0, t->save && qg_ckpt_is_done(t->save)};
  qg_timer_start(&t->timers, QG_PHASE_REDUCE);
  QG_TRY(qg_par_sum(t->par, sums, QG_COUNT_OF(sums)));
  qg_timer_stop(&t->timers, QG_PHASE_REDUCE);
  result->wishes = sums[0];
  result->save_moves = sums[1] == t->stages;
  result->refreshes = result->failed_refreshes = 0;
  result->records = NULL;
  result->partial = false;
  return QG_OK;
}

/* Validation goes through the same buffers in pieces of the training batch. */
static qg_status evaluate_piece(qg_trainer *t, int64_t first, int64_t sequences, double *sums)
{
  const qg_config *c = t->config;
  int64_t counted = 0, micro_batches = qg_ceil_div(sequences, c->train.micro_batch);
  if (t->valid_tokens)
    QG_TRY(qg_batch_read_plain(t->valid_tokens, first, micro_batches * c->train.micro_batch,
                               c->train.sequence_length, t->inputs.host, t->targets.host, &counted));
  QG_TRY(upload(t, &t->inputs));
  QG_TRY(upload(t, &t->targets));
  QG_TRY(qg_pipeline_evaluate(t, (int)micro_batches));
  if (qg_trainer_is_last(t)) sums[1] += (double)counted;
  return QG_OK;
}

/* The number of sequences is known to the ranks that read tokens; the others learn it. */
static qg_status validation_sequences(qg_trainer *t, int64_t *sequences)
{
  double count = 0.0;
  int64_t limit = t->config->train.validate_sequences;
  if (t->valid_tokens) {
    int64_t all = qg_tokens_sequences(t->valid_tokens, t->config->train.sequence_length);
    count = (double)(limit > 0 ? qg_min_i64(limit, all) : all);
  }
  QG_TRY(qg_par_max(t->par, &count, 1));
  *sequences = (int64_t)count;
  return QG_OK;
}

static double text_bytes_per_token(const qg_trainer *t)
{
  if (!t->valid_tokens || !qg_trainer_is_last(t)) return 0.0;
  const qg_tokens_info *info = qg_tokens_get_info(t->valid_tokens);
  return (double)info->text_bytes / (double)info->tokens;
}

/* The pieces are whole, so nobody is inside the pipeline when all leave. */
static qg_status evaluate(qg_trainer *t, int64_t sequences, const qg_validation_observer *observer,
                          double sums[2], bool *cut_short)
{
  int64_t piece = t->config->train.global_batch;
  for (int64_t first = 0; first < sequences && !*cut_short; first += piece) {
    QG_TRY(evaluate_piece(t, first, qg_min_i64(piece, sequences - first), sums));
    double wishes = observer->wish.ask(observer->wish.context);
    QG_TRY(qg_par_sum(t->par, &wishes, 1));
    bool go_on = observer->go_on(observer->context, wishes);
    *cut_short = !go_on && first + piece < sequences;
  }
  return QG_OK;
}

/* A last piece that is not full must not count tokens twice: qg_batch_read_plain marks what lies past `last`
 * by -1 only at the end of the file, so a limit is rounded up to whole micro-batches. */
static qg_status sum_losses(qg_trainer *t, const qg_validation_observer *observer,
                            qg_validation_result *result)
{
  double sums[3] = {0.0, 0.0, text_bytes_per_token(t)};
  int64_t sequences = 0;
  QG_TRY(validation_sequences(t, &sequences));
  QG_TRY(clear_loss(t));
  QG_TRY(evaluate(t, sequences, observer, sums, &result->cut_short));
  QG_TRY(read_loss(t, &sums[0]));
  QG_TRY(qg_par_sum(t->par, sums, 3));
  result->loss = sums[0] / sums[1];
  result->tokens = (int64_t)sums[1];
  result->bits_per_byte = sums[2] > 0.0 ? result->loss / log(2.0) / sums[2] : 0.0;
  return QG_OK;
}

qg_status qg_validate(qg_trainer *t, const qg_validation_observer *observer, qg_validation_result *result)
{
  *result = (qg_validation_result){0};
  qg_timer_start(&t->timers, QG_PHASE_VALIDATE);
  QG_TRY(sum_losses(t, observer, result));
  qg_timer_stop(&t->timers, QG_PHASE_VALIDATE);
  return qg_trainer_read_clock(t);
}
