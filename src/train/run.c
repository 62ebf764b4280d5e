/* The loop: one step after the other, and between steps the decisions to validate, save and stop. */
#include <math.h>
#include <unistd.h>

#include "qgalore/base.h"
#include "train/metrics.h"
#include "train/progress.h"
#include "train/restart.h"
#include "train/signals.h"
#include "train/step.h"
#include "train/stop.h"

typedef struct {
  qg_trainer *t;
  const qg_log *log;
  qg_run_folder folder;
  qg_progress progress;
  qg_progress_state state;
  qg_stop_watch watch;
  qg_metrics *metrics; /* rank 0 */
  qg_train_summary *summary;
  bool root;
  bool metrics_lost;  /* the last line could not be written */
  int64_t saved_step; /* step of the newest checkpoint, -1: none of this attempt */
  int bad_steps;      /* skipped in a row */
} qg_run;

/* Writing a small file on rank 0 may fail; nobody may go on alone, and training is worth more than a metrics
 * line. */
static void warn_if_failed(const qg_run *run, qg_status status)
{
  if (status != QG_OK) qg_log_warn(run->log, "%s", qg_error_message());
}

/* On a full disk one warning says it, not one a step. */
static void write_metrics(qg_run *run, const qg_metrics_line *line)
{
  qg_status status = qg_metrics_write(run->metrics, line);
  if (!run->metrics_lost) warn_if_failed(run, status);
  run->metrics_lost = status != QG_OK;
}

static qg_status save(qg_run *run)
{
  double seconds;
  if (run->saved_step == run->state.step) return QG_OK;
  qg_status status = qg_save(run->t, &run->folder, &run->state, &seconds);
  qg_progress_clear(&run->progress);
  if (status != QG_OK) {
    qg_log_warn(run->log, "checkpoint at step %lld failed, the older ones are intact, training goes on: %s",
                (long long)run->state.step, qg_error_message());
    return status;
  }
  run->saved_step = run->state.step;
  run->watch.longest_save = fmax(run->watch.longest_save, seconds);
  qg_log_info(run->log, "%9lld checkpoint saved in %.2f s", (long long)run->state.step, seconds);
  if (run->root)
    warn_if_failed(run, qg_run_folder_write_status(&run->folder, "running", run->state.step,
                                                   run->progress.steps, "checkpoint saved"));
  return QG_OK;
}

static qg_status validate(qg_run *run, qg_metrics_line *line)
{
  qg_validation_result result;
  QG_TRY(qg_validate(run->t, &result));
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

/* This rank's wish for after the coming step. Rank 0 looks at clock and folder; signals may reach any rank.
 */
static int wish(const qg_run *run)
{
  int request = qg_signals_take();
  if (run->root && (qg_stop_file_exists(&run->watch) || qg_stop_walltime_due(&run->watch, qg_now())))
    request = QG_REQUEST_STOP;
  return request;
}

static qg_stop_reason why_stopped(const qg_run *run)
{
  if (qg_stop_file_exists(&run->watch)) return QG_STOP_FILE;
  return qg_stop_walltime_due(&run->watch, qg_now()) ? QG_STOP_WALLTIME : QG_STOP_REQUESTED;
}

static void advance(qg_run *run, const qg_step_result *result, double seconds)
{
  run->state.step++;
  run->state.tokens += result->tokens;
  run->state.cursor += run->t->config->train.global_batch;
  run->state.elapsed += seconds;
  run->state.loss = result->loss;
  run->state.grad_norm = result->grad_norm;
  run->watch.longest_step = fmax(run->watch.longest_step, seconds);
}

/* A run that only skips would burn its allocation; the last good checkpoint is older than the trouble. */
static qg_status count_bad(qg_run *run, const qg_step_result *result)
{
  run->bad_steps = result->skipped ? run->bad_steps + 1 : 0;
  QG_CHECK(run->bad_steps < run->t->config->run.max_bad_steps, QG_ERR_NUMERICAL,
           "loss or gradient was not finite in %d steps in a row (last: step %lld); lower optimizer.lr or "
           "check the data, "
           "and restart from a checkpoint in %s",
           run->bad_steps, (long long)run->state.step, run->folder.checkpoints);
  return QG_OK;
}

static void warn_of_failures(const qg_run *run, const qg_step_result *result)
{
  if (result->failed_refreshes == 0) return;
  qg_progress_clear(&run->progress);
  qg_log_warn(run->log,
              "step %lld: %lld subspaces could not be refreshed and keep their old basis; they stay due",
              (long long)run->state.step, (long long)result->failed_refreshes);
}

static qg_status one_step(qg_run *run, int *request)
{
  qg_step_result result;
  double begin = qg_now();
  QG_TRY(qg_train_step(run->t, run->state.step, run->state.cursor, wish(run), &result));
  double seconds = qg_now() - begin;
  *request = (int)result.request;
  advance(run, &result, seconds);
  qg_metrics_line line = {.step = run->state.step,
                          .tokens = run->state.tokens,
                          .tokens_per_s = (double)result.tokens / seconds,
                          .result = &result,
                          .val_loss = NAN,
                          .val_bits_per_byte = NAN};
  warn_of_failures(run, &result);
  qg_progress_step(&run->progress, run->state.step, run->state.tokens, &result, seconds);
  if (validation_is_due(run)) QG_TRY(validate(run, &line));
  if (run->metrics) write_metrics(run, &line);
  return count_bad(run, &result);
}

static qg_status loop(qg_run *run)
{
  const qg_config *c = run->t->config;
  run->summary->reason = QG_STOP_FINISHED;
  while (run->state.step < c->train.steps) {
    int request = QG_REQUEST_NONE;
    QG_TRY(one_step(run, &request));
    bool stop = request >= QG_REQUEST_STOP;
    bool due = c->checkpoint.every > 0 && run->state.step % c->checkpoint.every == 0;
    if (stop && run->state.step < c->train.steps) run->summary->reason = why_stopped(run);
    /* A streak of skipped steps has nothing to save, and must not push out the checkpoints from before it. */
    if ((due && run->bad_steps == 0) || request % QG_REQUEST_STOP != 0) (void)save(run);
    if (stop) break;
  }
  return save(run);
}

static qg_status open_folder(qg_run *run)
{
  qg_status status = run->root ? qg_run_folder_prepare(&run->folder, run->t->config) : QG_OK;
  return qg_par_agree(run->t->par, status);
}

static qg_status begin(qg_run *run)
{
  QG_TRY(open_folder(run));
  QG_TRY(qg_restart(run->t, run->log, &run->folder, &run->state));
  QG_TRY(qg_trainer_begin(run->t, run->state.grad_norm));
  run->progress.first_step = run->summary->first_step = run->state.step;
  qg_status status =
      run->root ? qg_metrics_open(run->folder.root, &run->t->config->model, run->state.step, &run->metrics)
                : QG_OK;
  if (run->root && status == QG_OK) {
    unlink(run->folder.stop_file); /* it belonged to an earlier attempt */
    status =
        qg_run_folder_write_status(&run->folder, "running", run->state.step, run->progress.steps, "started");
  }
  QG_TRY(qg_par_agree(run->t->par, status));
  qg_signals_install();
  qg_progress_header(&run->progress);
  run->progress.started = qg_now();
  return QG_OK;
}

static void summarize(qg_run *run)
{
  qg_train_summary *s = run->summary;
  s->step = run->state.step;
  s->tokens = run->state.tokens;
  s->loss = run->state.loss;
  s->seconds = qg_now() - run->progress.started;
}

static void write_final_status(const qg_run *run, qg_status status)
{
  static const char *const reasons[] = {"all steps done", "asked to stop", "walltime", "STOP file"};
  bool finished = status == QG_OK && run->summary->reason == QG_STOP_FINISHED;
  const char *state = finished ? "finished" : status == QG_OK ? "resume" : "failed";
  const char *reason = status == QG_OK ? reasons[run->summary->reason] : "see the log";
  qg_run_folder_write_status(&run->folder, state,
                             run->saved_step < 0 ? run->progress.first_step : run->saved_step,
                             run->progress.steps, reason);
}

qg_status qg_train_run(qg_trainer *t, const qg_log *log, const qg_train_settings *settings,
                       qg_train_summary *summary)
{
  const qg_config *c = t->config;
  qg_run run = {.t = t, .log = log, .folder = qg_run_folder_of(c), .summary = summary, .saved_step = -1};
  run.root = qg_par_is_root(qg_par_grid(t->par));
  run.progress =
      (qg_progress){.log = log,
                    .steps = c->train.steps,
                    .log_every = c->run.log_every,
                    .flops_per_token = qg_model_flops_per_token(&c->model, c->train.sequence_length),
                    .peak_flops = settings->gemm_flops};
  run.watch = (qg_stop_watch){settings->started, c->run.max_walltime, 0.0, 0.0, run.folder.stop_file};
  *summary = (qg_train_summary){.valid_loss = NAN};
  qg_status status = begin(&run);
  if (status == QG_OK) {
    status = loop(&run);
    summarize(&run);
    if (run.root) write_final_status(&run, status);
  }
  qg_metrics_close(run.metrics);
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
