#include "app/evaluate.h"

#include <errno.h>
#include <jansson.h>
#include <libgen.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/check.h"
#include "app/dry_run.h"
#include "app/library_memory.h"
#include "app/memory_check.h"
#include "app/report.h"
#include "qgalore/base.h"
#include "train/evaluator.h"
#include "train/run_folder.h"
#include "train/transport.h"
#include "train/watchdog.h"

/* One evaluation under way. */
typedef struct {
  qg_session *s;
  qg_transport transport;
  qg_evaluator evaluator;
  char checkpoint[3 * QG_PATH_MAX];
  qg_ckpt_meta meta;
  char files[4 * QG_PATH_MAX]; /* names one after the other, each with its end */
  int file_count;
  json_t *results; /* root; NULL elsewhere */
  qg_watchdog *watchdog;
} evaluation;

/* --- What to evaluate --- */

/* Cuts the list at its commas; spaces around names do not count. */
static qg_status list_files(evaluation *e)
{
  const qg_config *c = &e->s->config;
  const char *list = c->evaluate.data[0] ? c->evaluate.data : c->data.valid;
  char *to = e->files;
  for (const char *at = list; *at;) {
    at += strspn(at, ", ");
    size_t length = strcspn(at, ",");
    const char *next = at + length;
    while (length > 0 && at[length - 1] == ' ') length--;
    if (length > 0) {
      memcpy(to, at, length);
      to[length] = '\0';
      to += length + 1;
      e->file_count++;
    }
    at = next;
  }
  QG_CHECK(e->file_count > 0, QG_ERR_INPUT,
           "evaluate.data names no token file, and there is no data.valid either: give one of them");
  return QG_OK;
}

/* Told before the work. Random tokens have no file. */
static qg_status check_files(const evaluation *e)
{
  const char *path = e->files;
  for (int i = 0; i < e->file_count; i++, path += strlen(path) + 1)
    QG_CHECK(qg_tokens_is_random(path) || access(path, R_OK) == 0, QG_ERR_INPUT,
             "evaluate.data: %s: %s; make token files with qgalore_tok, or check the path", path,
             strerror(errno));
  return QG_OK;
}

/* An empty file, or a list of JSON. */
static bool is_results(const char *path, const struct stat *info)
{
  json_t *content = json_load_file(path, 0, NULL);
  bool is = info->st_size == 0 || json_is_array(content);
  json_decref(content);
  return is;
}

/* Only results of an evaluation are replaced. */
static qg_status check_output(const evaluation *e)
{
  const char *path = e->s->config.evaluate.output;
  char folder[QG_PATH_MAX];
  struct stat info;
  if (!path[0]) return QG_OK;
  snprintf(folder, sizeof folder, "%s", path);
  QG_CHECK(access(dirname(folder), W_OK) == 0, QG_ERR_INPUT, "evaluate.output = %s: its folder: %s", path,
           strerror(errno));
  if (lstat(path, &info) != 0) return QG_OK;
  QG_CHECK(S_ISREG(info.st_mode), QG_ERR_INPUT,
           "evaluate.output = %s is there and not a regular file; name another", path);
  QG_CHECK(is_results(path, &info), QG_ERR_INPUT,
           "evaluate.output = %s is there and holds no results of an evaluation; name another", path);
  return QG_OK;
}

static qg_status check_paths(evaluation *e)
{
  QG_TRY(list_files(e));
  if (!qg_par_is_root(e->s->grid)) return QG_OK;
  QG_TRY(check_files(e));
  return check_output(e);
}

static bool wants_newest(const evaluation *e)
{
  const char *checkpoint = e->s->config.evaluate.checkpoint;
  return !checkpoint[0] || strcmp(checkpoint, "auto") == 0;
}

static qg_status choose_checkpoint(evaluation *e)
{
  const qg_config *c = &e->s->config;
  qg_run_folder folder = qg_run_folder_of(c);
  if (!wants_newest(e)) {
    snprintf(e->checkpoint, sizeof e->checkpoint, "%s", c->evaluate.checkpoint);
    return QG_OK;
  }
  QG_TRY(qg_ckpt_find(e->s->par, &e->s->log, folder.checkpoints, e->checkpoint, sizeof e->checkpoint));
  QG_CHECK(e->checkpoint[0], QG_ERR_CHECKPOINT,
           "%s holds no checkpoint that is whole; name one with evaluate.checkpoint=PATH, or the run with "
           "run.output_dir and run.name",
           folder.checkpoints);
  return QG_OK;
}

static qg_status load(evaluation *e)
{
  QG_TRY(choose_checkpoint(e));
  return qg_evaluator_load(&e->evaluator, e->checkpoint, &e->meta);
}

/* The step of the newest checkpoint, without losing the message of what has failed. */
static qg_status look_again(const evaluation *e, const char *folder, int64_t *newest)
{
  char message[2048];
  snprintf(message, sizeof message, "%s", qg_error_message());
  QG_TRY(qg_ckpt_newest(e->s->par, folder, newest));
  qg_error_adopt(QG_ERR_CHECKPOINT, message);
  return QG_OK;
}

/* A training that goes on deletes older checkpoints: where the newest has changed meanwhile, it is read
 * instead. */
static qg_status load_newest(evaluation *e)
{
  enum { ATTEMPTS = 5 };
  qg_run_folder folder = qg_run_folder_of(&e->s->config);
  qg_status status = QG_ERR_CHECKPOINT;
  int64_t before = 0, newest = -1;
  for (int i = 0; i < ATTEMPTS && status == QG_ERR_CHECKPOINT && newest != before; i++) {
    QG_TRY(qg_ckpt_newest(e->s->par, folder.checkpoints, &before));
    status = load(e);
    if (status == QG_ERR_CHECKPOINT) QG_TRY(look_again(e, folder.checkpoints, &newest));
  }
  return status;
}

/* --- Memory and weights --- */

static qg_status create(evaluation *e)
{
  qg_session *s = e->s;
  qg_trainer_request request;
  QG_TRY(qg_session_open_memory(s, qg_dry_run_evaluation, e->transport.device_pointers, &request));
  QG_TRY(qg_evaluator_create(&request, &e->evaluator));
  const qg_state_list *state = &e->evaluator.state;
  qg_mem_note(
      s->mem, QG_OWNER_RUNTIME,
      qg_library_memory_estimate(&s->config, s->be, &e->evaluator.part, state->entries, state->count));
  return QG_OK;
}

static qg_status print_opening(const evaluation *e)
{
  const qg_session *s = e->s;
  qg_report_banner(&s->log);
  QG_TRY(qg_report_ranks(s->par, &s->log, s->be, &e->evaluator.part));
  if (e->transport.line[0]) qg_log_info(&s->log, "transport %s", e->transport.line);
  qg_log_info(&s->log, "\nmemory plan of rank 0");
  qg_memory_print(&s->log, s->be, s->mem);
  qg_log_info(&s->log, "\ncheckpoint %s, step %lld", e->checkpoint, (long long)e->meta.step);
  return QG_OK;
}

/* --- Files --- */

static void print_heading(const evaluation *e)
{
  qg_log_info(&e->s->log, "data      sequences of train.sequence_length = %lld tokens",
              (long long)e->s->config.train.sequence_length);
  qg_log_info(&e->s->log, "\n%12s %10s %12s %10s %10s  %s", "tokens", "loss", "perplexity", "bits/byte",
              "tok/s", "file");
}

static void print_result(const evaluation *e, const char *path, const qg_validation_result *r, double seconds)
{
  char bits[32] = "-";
  if (r->bits_per_byte > 0.0) snprintf(bits, sizeof bits, "%.4f", r->bits_per_byte);
  qg_log_info(&e->s->log, "%12lld %10.4f %12.4f %10s %10.0f  %s", (long long)r->tokens, r->loss, exp(r->loss),
              bits, (double)r->tokens / seconds, path);
}

/* Numbers that are not finite are null, as in metrics.jsonl. */
static json_t *number(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

static void add_result(evaluation *e, const char *path, const qg_validation_result *r, double seconds)
{
  json_t *o = json_object();
  json_object_set_new(o, "file", json_string(path));
  json_object_set_new(o, "checkpoint", json_string(e->checkpoint));
  json_object_set_new(o, "step", json_integer(e->meta.step));
  json_object_set_new(o, "tokens", json_integer(r->tokens));
  json_object_set_new(o, "loss", number(r->loss));
  json_object_set_new(o, "perplexity", number(exp(r->loss)));
  json_object_set_new(o, "bits_per_byte", r->bits_per_byte > 0.0 ? number(r->bits_per_byte) : json_null());
  json_object_set_new(o, "seconds", number(seconds));
  json_array_append_new(e->results, o);
}

/* A piece is done. */
static bool go_on(void *evaluation_, double votes)
{
  evaluation *e = evaluation_;
  (void)votes;
  qg_watchdog_feed(e->watchdog, e->meta.step);
  return true;
}

static qg_status evaluate_tokens(evaluation *e, qg_tokens *tokens, const char *path)
{
  const qg_validation_observer observer = {.go_on = go_on, .context = e};
  qg_validation_result result;
  double begun = qg_now();
  qg_timers *timers = &e->evaluator.timers;
  qg_timer_start(timers, QG_PHASE_VALIDATE);
  QG_TRY(qg_evaluate(&e->evaluator.pipeline, tokens, e->s->config.evaluate.sequences, &observer, &result));
  qg_timer_stop(timers, QG_PHASE_VALIDATE);
  QG_CHECK(isfinite(result.loss), QG_ERR_NUMERICAL,
           "the loss over %s is not finite: the weights of %s are damaged", path, e->checkpoint);
  double seconds = qg_now() - begun;
  print_result(e, path, &result, seconds);
  if (e->results) add_result(e, path, &result, seconds);
  return QG_OK;
}

static qg_status write_results(const evaluation *e)
{
  const char *path = e->s->config.evaluate.output;
  if (!e->results || !path[0]) return QG_OK;
  char *text = json_dumps(e->results, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
  QG_CHECK(text, QG_ERR_RESOURCE, "no host memory for the results");
  qg_status status = qg_write_file_atomic(path, text, strlen(text));
  free(text);
  return status;
}

/* Inside an evaluation a rank may fail alone. */
static qg_status evaluate_file(evaluation *e, const char *path)
{
  qg_session *s = e->s;
  qg_tokens *tokens;
  uint64_t seed = (uint64_t)s->config.train.seed + 1; /* as for data.valid */
  qg_status status =
      qg_par_agree(s->par, qg_pipeline_open_tokens(&e->evaluator.pipeline, path, seed, &tokens));
  if (status == QG_OK) {
    s->alone = true;
    status = evaluate_tokens(e, tokens, path);
    s->alone = status != QG_OK && status != QG_ERR_NUMERICAL; /* all ranks know the loss */
  }
  qg_tokens_close(tokens);
  QG_TRY(status);
  return qg_par_agree(s->par, write_results(e));
}

static qg_status start_watchdog(evaluation *e)
{
  const qg_config *c = &e->s->config;
  qg_watchdog_request request = {
      .limit = c->run.watchdog, .timers = &e->evaluator.timers, .shape = &c->model, .grid = e->s->grid};
  return qg_watchdog_start(&request, &e->watchdog);
}

static qg_status evaluate_files(evaluation *e)
{
  const char *path = e->files;
  QG_TRY(qg_par_agree(e->s->par, start_watchdog(e)));
  print_heading(e);
  for (int i = 0; i < e->file_count; i++, path += strlen(path) + 1) QG_TRY(evaluate_file(e, path));
  if (e->s->config.evaluate.output[0]) qg_log_info(&e->s->log, "results   %s", e->s->config.evaluate.output);
  return qg_report_memory(e->s->par, &e->s->log, e->s->be, e->s->mem);
}

static qg_status run(evaluation *e)
{
  qg_session *s = e->s;
  signal(SIGUSR1, SIG_IGN); /* save and go on: there is nothing to save */
  QG_TRY(qg_par_agree(s->par, check_paths(e)));
  QG_TRY(qg_transport_choose(&s->config, s->par, s->be, &e->transport));
  QG_TRY(qg_memory_check(&s->config, s->par, s->be, qg_dry_run_evaluation, "a smaller evaluate.micro_batch",
                         &s->log));
  QG_TRY(qg_par_agree(s->par, create(e)));
  QG_TRY(wants_newest(e) ? load_newest(e) : load(e));
  QG_TRY(print_opening(e));
  return evaluate_files(e);
}

qg_status qg_evaluate_run(qg_session *s)
{
  evaluation e = {.s = s, .results = qg_par_is_root(s->grid) ? json_array() : NULL};
  qg_status status = run(&e);
  qg_watchdog_stop(e.watchdog);
  qg_evaluator_destroy(&e.evaluator);
  json_decref(e.results);
  return status;
}
