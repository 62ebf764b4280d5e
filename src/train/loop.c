/* The loop: one step after the other, and between steps the decisions to validate, save and stop. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "qgalore/base.h"
#include "train/recovery.h"

/* All ranks see the same sum, so they decide the same. False: the run is to stop. */
static bool count_votes(void *context, double votes)
{
  qg_run *run = context;
  qg_request request = qg_stop_decide(votes);
  if (request > run->request) run->request = request;
  qg_run_feed(run);
  return run->request < QG_REQUEST_SIGNAL;
}

static qg_status validate(qg_run *run, qg_metrics_line *line)
{
  qg_validation_result result;
  qg_validation_observer observer = {{qg_stop_cast_vote, &run->watch}, count_votes, run};
  QG_TRY(qg_validate(run->t, &observer, &result));
  qg_progress_clear(&run->progress);
  run->owes_validation = result.cut_short;
  if (result.cut_short) {
    qg_log_info(run->log, "%9lld validation cut short to stop; the next start makes up for it",
                (long long)run->state.step);
    return QG_OK;
  }
  run->bad.validation = !isfinite(result.loss);
  line->val_loss = run->summary->valid_loss = result.loss;
  line->val_bits_per_byte = result.bits_per_byte > 0.0 ? result.bits_per_byte : NAN;
  qg_progress_validation(&run->progress, run->state.step, &result);
  return QG_OK;
}

static bool validation_is_due(const qg_run *run)
{
  const qg_config *c = run->t->config;
  if (c->data.valid[0] == '\0') return false;
  return run->state.step == c->train.steps ||
         (c->train.validate_every > 0 && run->state.step % c->train.validate_every == 0);
}

/* The norm is for clipping in the next step, so it is of the last step that made an update. */
static void advance(qg_run *run, const qg_step_result *result, double seconds)
{
  run->state.step++;
  run->state.tokens += result->tokens;
  run->state.cursor += run->t->config->train.global_batch;
  run->state.elapsed += seconds;
  run->state.loss = result->skipped ? NAN : result->loss;
  if (!result->skipped) run->state.grad_norm = result->grad_norm;
  run->watch.longest_step = fmax(run->watch.longest_step, seconds);
}

static void warn_of_failures(const qg_run *run, const qg_step_result *result)
{
  if (result->failed_refreshes == 0) return;
  qg_progress_clear(&run->progress);
  qg_log_warn(run->log,
              "step %lld: %lld subspaces could not be refreshed and keep their old basis; they stay due",
              (long long)run->state.step, (long long)result->failed_refreshes);
}

static qg_status finish_step(qg_run *run, const qg_step_result *result, double seconds)
{
  qg_metrics_line line = {.step = run->state.step,
                          .tokens = run->state.tokens,
                          .tokens_per_s = (double)result->tokens / seconds,
                          .result = result,
                          .val_loss = NAN,
                          .val_bits_per_byte = NAN};
  if (run->state.step == run->progress.first_step + 1) run->progress.first_seconds = seconds;
  warn_of_failures(run, result);
  qg_progress_step(&run->progress, run->state.step, run->state.tokens, result, seconds);
  if (validation_is_due(run)) QG_TRY(validate(run, &line));
  if (run->metrics) qg_run_write_metrics(run, &line);
  return qg_recovery_count(run, result);
}

static qg_status one_step(qg_run *run)
{
  qg_step_result result;
  double seconds;
  bool rolled_back;
  run->request = QG_REQUEST_NONE;
  QG_TRY(qg_recovery_take_step(run, &result, &seconds));
  advance(run, &result, seconds);
  (void)count_votes(run, result.votes);
  QG_TRY(qg_recovery_check(run, &result, seconds, &rolled_back));
  if (!rolled_back) QG_TRY(finish_step(run, &result, seconds));
  return result.save_phase_done ? qg_run_advance_save(run, false) : QG_OK;
}

/* After a bad step there is nothing to save, and a save could delete a checkpoint from before the bad
 * steps. Requests that came during the save are counted right after it, not a step later. */
static qg_status save_between(qg_run *run)
{
  int64_t every = run->t->config->checkpoint.every;
  bool due = every > 0 && run->state.step % every == 0 && run->bad.in_a_row == 0;
  if (!due && run->request != QG_REQUEST_SAVE) return QG_OK;
  QG_TRY(qg_run_save(run));
  double votes = qg_stop_cast_vote(&run->watch);
  QG_TRY(qg_par_sum(run->t->par, &votes, 1));
  (void)count_votes(run, votes);
  return QG_OK;
}

/* The validation that the attempt before this one cut short to stop: rank 0 sees it in the metrics. */
static qg_status make_up_validation(qg_run *run)
{
  double owed = run->metrics && validation_is_due(run) && qg_metrics_lacks_validation(run->metrics);
  qg_metrics_line line = {0};
  QG_TRY(qg_par_max(run->t->par, &owed, 1));
  if (owed == 0.0) return QG_OK;
  QG_TRY(validate(run, &line));
  if (run->root && !run->owes_validation)
    qg_run_warn(run, qg_metrics_add_validation(run->metrics, line.val_loss, line.val_bits_per_byte));
  return QG_OK;
}

static bool may_go_on(const qg_run *run)
{
  return run->state.step < run->t->config->train.steps && run->request < QG_REQUEST_SIGNAL;
}

/* A run that ends on a step or a validation that is not finite has no result. The state before it is saved.
 */
static qg_status check_end(qg_run *run)
{
  run->summary->agreed = true;
  QG_CHECK(
      isfinite(run->state.loss) || run->state.step == 0, QG_ERR_NUMERICAL,
      "the last step, %lld, was skipped: its loss or gradient is not finite; lower optimizer.lr or check the "
      "data, and go on with more steps or from an older checkpoint in %s",
      (long long)run->state.step, run->folder.checkpoints);
  QG_CHECK(!run->bad.validation, QG_ERR_NUMERICAL,
           "the validation after step %lld is not finite; lower optimizer.lr or check data.valid, and go on "
           "from an "
           "older checkpoint in %s",
           (long long)run->state.step, run->folder.checkpoints);
  run->summary->agreed = false;
  return QG_OK;
}

static qg_status loop(qg_run *run)
{
  static const qg_stop_reason reasons[] = {[QG_REQUEST_SIGNAL] = QG_STOP_REQUESTED,
                                           [QG_REQUEST_STOP_FILE] = QG_STOP_FILE,
                                           [QG_REQUEST_WALLTIME] = QG_STOP_WALLTIME};
  run->summary->reason = QG_STOP_FINISHED;
  run->summary->agreed = false;
  QG_TRY(make_up_validation(run));
  while (may_go_on(run)) {
    QG_TRY(one_step(run));
    if (may_go_on(run)) QG_TRY(save_between(run));
  }
  if (run->state.step < run->t->config->train.steps || run->owes_validation)
    run->summary->reason = reasons[run->request];
  QG_TRY(qg_run_save_last(run));
  return check_end(run);
}

/* In the watchdog's thread, while this one hangs. */
static void tell_of_hang(void *context, const char *reason)
{
  const qg_run *run = context;
  if (run->root)
    qg_run_folder_overwrite_status(&run->folder, "failed",
                                   qg_max_i64(run->saved_step, run->progress.first_step), run->progress.steps,
                                   reason);
}

static qg_status start_watchdog(qg_run *run)
{
  const qg_config *c = run->t->config;
  qg_watchdog_request request = {.limit = c->run.watchdog,
                                 .timers = &run->t->timers,
                                 .shape = &c->model,
                                 .grid = qg_par_grid(run->t->par),
                                 .last_words = tell_of_hang,
                                 .context = run};
  return qg_watchdog_start(&request, &run->watchdog);
}

static qg_status start_heartbeat(qg_run *run)
{
  if (!run->root) return QG_OK;
  return qg_heartbeat_start(run->log, qg_heartbeat_interval(run->log), &run->t->timers,
                            &run->t->config->model, &run->heartbeat);
}

/* Collective, with a result that all ranks share. */
static qg_status begin(qg_run *run)
{
  QG_TRY(qg_par_agree(run->t->par, start_heartbeat(run)));
  QG_TRY(qg_restart(run->t, run->log, &run->folder, &run->state));
  QG_TRY(qg_trainer_begin(run->t, run->state.grad_norm));
  run->progress.first_step = run->summary->first_step = run->state.step;
  QG_TRY(qg_par_agree(run->t->par, qg_run_open_metrics(run)));
  QG_TRY(qg_par_agree(run->t->par, qg_run_write_first_status(run)));
  QG_TRY(qg_recovery_begin(run));
  qg_progress_header(&run->progress);
  qg_run_feed(run);
  run->progress.started = run->began = run->watch.last_save = qg_now();
  return qg_par_agree(run->t->par, start_watchdog(run));
}

static void summarize(qg_run *run)
{
  qg_train_summary *s = run->summary;
  s->step = run->state.step;
  s->tokens = run->state.tokens;
  s->loss = run->state.loss;
  s->seconds = qg_now() - run->began;
}

static void init(qg_trainer *t, const qg_log *log, const qg_train_settings *settings, qg_run *run)
{
  const qg_config *c = t->config;
  *run = (qg_run){.t = t,
                  .log = log,
                  .folder = qg_run_folder_of(c),
                  .root = qg_par_is_root(qg_par_grid(t->par)),
                  .saved_step = -1,
                  .bad.skip_step = -1};
  run->progress =
      (qg_progress){.log = log,
                    .steps = c->train.steps,
                    .log_every = c->run.log_every,
                    .flops_per_token = qg_model_flops_per_token(&c->model, c->train.sequence_length),
                    .peak_flops = settings->gemm_flops};
  run->writer = (qg_checkpoint_writer){.t = t, .folder = &run->folder};
  run->watch = (qg_stop_watch){.root = run->root,
                               .started = settings->started,
                               .walltime = c->run.max_walltime,
                               .save_every = c->checkpoint.every_time,
                               .stop_file = run->folder.stop_file};
}

static void destroy(qg_run *run)
{
  qg_watchdog_stop(run->watchdog);
  qg_heartbeat_stop(run->heartbeat);
  qg_checkpoint_writer_abandon(&run->writer);
  qg_metrics_close(run->metrics);
  free(run->state.history);
}

qg_status qg_train_run(qg_trainer *t, const qg_log *log, const qg_train_settings *settings,
                       qg_train_summary *summary)
{
  qg_run run;
  init(t, log, settings, &run);
  run.summary = summary;
  *summary = (qg_train_summary){.valid_loss = NAN, .agreed = true};
  qg_status status = begin(&run);
  if (status == QG_OK) {
    status = loop(&run);
    if (status == QG_OK) status = qg_trainer_read_clock(t);
    summarize(&run);
    /* A rank that fails alone speaks for all. */
    if (run.root || (status != QG_OK && !summary->agreed)) qg_run_write_final_status(&run, status);
  }
  destroy(&run);
  return status;
}
