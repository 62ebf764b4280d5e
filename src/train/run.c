/* The loop: one step after the other, and between steps the decisions to validate, save and stop. */
#include <math.h>
#include <stdlib.h>

#include "qgalore/base.h"
#include "train/recovery.h"
#include "train/run.h"
#include "train/step.h"

static void report_saved(qg_run *run)
{
  const qg_checkpoint_writer *s = &run->writer;
  run->saved_step = s->step;
  run->rollbacks = 0;
  qg_excluded_steps_forget(&run->excluded, s->step);
  run->watch.longest_save = fmax(run->watch.longest_save, s->alone);
  if (s->beside)
    qg_log_info(run->log, "%9lld checkpoint saved in %.2f s, training stood still for %.3f s of them",
                (long long)s->step, s->seconds, s->stall);
  else
    qg_log_info(run->log, "%9lld checkpoint saved in %.2f s", (long long)s->step, s->seconds);
  if (run->root)
    qg_run_warn(run, qg_run_folder_write_status(&run->folder, "running", s->step, run->progress.steps,
                                                "checkpoint saved"));
}

static qg_status report_save(qg_run *run, qg_status status)
{
  qg_progress_clear(&run->progress);
  if (status == QG_OK) report_saved(run);
  else
    qg_log_warn(run->log, "checkpoint at step %lld failed, the older ones are intact, training goes on: %s",
                (long long)run->writer.step, qg_error_message());
  return status;
}

/* Takes the save under way, if there is one, to its next phase or to its end. */
static qg_status settle(qg_run *run, bool wait)
{
  bool ended;
  qg_status status = qg_checkpoint_writer_advance(&run->writer, wait, &ended);
  return ended ? report_save(run, status) : status;
}

void qg_run_finish_save(qg_run *run)
{
  (void)settle(run, true);
}

/* One save at a time: an earlier one is waited for. A save that is not beside training ends here. */
static qg_status save(qg_run *run, bool beside)
{
  (void)settle(run, true);
  if (run->saved_step == run->state.step) return QG_OK;
  qg_status status = qg_checkpoint_writer_begin(&run->writer, &run->state, beside);
  if (status != QG_OK) return report_save(run, status);
  return run->writer.beside ? QG_OK : settle(run, true);
}

/* All ranks see the same sums, so they decide the same. */
static bool note(void *context, double votes)
{
  qg_run *run = context;
  qg_request request = qg_stop_decide(votes);
  if (request > run->request) run->request = request;
  qg_watchdog_feed(run->watchdog, run->state.step);
  return run->request < QG_REQUEST_SIGNAL;
}

static qg_status validate(qg_run *run, qg_metrics_line *line)
{
  qg_validation_result result;
  qg_validation_observer observer = {{qg_stop_cast_vote, &run->watch}, note, run};
  QG_TRY(qg_validate(run->t, &observer, &result));
  qg_progress_clear(&run->progress);
  run->owes_validation = result.cut_short;
  if (result.cut_short) {
    qg_log_info(run->log, "%9lld validation cut short to stop; the next start makes up for it",
                (long long)run->state.step);
    return QG_OK;
  }
  line->val_loss = run->summary->valid_loss = result.loss;
  line->val_bits_per_byte = result.bits_per_byte;
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

/* The norm is for the clipping that follows: of the last step that was taken. */
static void advance(qg_run *run, const qg_step_result *result, double seconds)
{
  run->state.step++;
  run->state.tokens += result->tokens;
  run->state.cursor += run->t->config->train.global_batch;
  run->state.elapsed += seconds;
  run->state.loss = result->loss;
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
  bool back;
  run->request = QG_REQUEST_NONE;
  QG_TRY(qg_recovery_take_step(run, &result, &seconds));
  advance(run, &result, seconds);
  (void)note(run, result.votes);
  QG_TRY(qg_recovery_check(run, &result, seconds, &back));
  if (!back) QG_TRY(finish_step(run, &result, seconds));
  if (result.save_phase_done) (void)settle(run, false);
  return QG_OK;
}

/* A streak of skipped steps has nothing to save, and must not push out the checkpoints from before it. What
 * was asked for during the save is heard after it, not a step later. */
static qg_status save_between(qg_run *run)
{
  int64_t every = run->t->config->checkpoint.every;
  bool due = every > 0 && run->state.step % every == 0 && run->bad_steps == 0;
  if (!due && run->request != QG_REQUEST_SAVE) return QG_OK;
  (void)save(run, true);
  double votes = qg_stop_cast_vote(&run->watch);
  QG_TRY(qg_par_sum(run->t->par, &votes, 1));
  (void)note(run, votes);
  return QG_OK;
}

/* A validation that the stop before this start has cut short: rank 0 sees it in the metrics. */
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
  qg_status status = save(run, false);
  run->summary->agreed |= status != QG_OK;
  return status;
}

/* Collective, with a result that all ranks share. */
static qg_status begin(qg_run *run)
{
  QG_TRY(qg_run_open_folder(run));
  QG_TRY(qg_restart(run->t, run->log, &run->folder, &run->state));
  QG_TRY(qg_trainer_begin(run->t, run->state.grad_norm));
  run->progress.first_step = run->summary->first_step = run->state.step;
  QG_TRY(qg_par_agree(run->t->par, qg_run_open_metrics(run)));
  QG_TRY(qg_par_agree(run->t->par, qg_run_write_first_status(run)));
  QG_TRY(qg_recovery_begin(run));
  qg_progress_header(&run->progress);
  run->progress.started = run->began = qg_now();
  qg_status status = qg_watchdog_start(run->t->config->run.watchdog, &run->t->timers, &run->t->config->model,
                                       qg_par_grid(run->t->par), &run->watchdog);
  return qg_par_agree(run->t->par, status);
}

static void summarize(qg_run *run)
{
  qg_train_summary *s = run->summary;
  s->step = run->state.step;
  s->tokens = run->state.tokens;
  s->loss = run->state.loss;
  s->seconds = qg_now() - run->began;
}

qg_status qg_train_run(qg_trainer *t, const qg_log *log, const qg_train_settings *settings,
                       qg_train_summary *summary)
{
  const qg_config *c = t->config;
  qg_run run = {.t = t,
                .log = log,
                .folder = qg_run_folder_of(c),
                .summary = summary,
                .saved_step = -1,
                .jump_step = -1,
                .lock = -1};
  run.root = qg_par_is_root(qg_par_grid(t->par));
  run.progress =
      (qg_progress){.log = log,
                    .steps = c->train.steps,
                    .log_every = c->run.log_every,
                    .flops_per_token = qg_model_flops_per_token(&c->model, c->train.sequence_length),
                    .peak_flops = settings->gemm_flops};
  run.writer = (qg_checkpoint_writer){.t = t, .folder = &run.folder};
  run.watch = (qg_stop_watch){.root = run.root,
                              .started = settings->started,
                              .walltime = c->run.max_walltime,
                              .stop_file = run.folder.stop_file};
  *summary = (qg_train_summary){.valid_loss = NAN, .agreed = true};
  qg_status status = begin(&run);
  if (status == QG_OK) {
    status = loop(&run);
    if (status == QG_OK) status = qg_trainer_read_clock(t);
    summarize(&run);
    if (run.root) qg_run_write_final_status(&run, status);
  }
  qg_watchdog_stop(run.watchdog);
  qg_checkpoint_writer_abandon(&run.writer);
  qg_metrics_close(run.metrics);
  qg_run_close_folder(&run);
  free(run.state.history);
  return status;
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
