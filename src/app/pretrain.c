#include "app/pretrain.h"

#include <math.h>
#include <unistd.h>

#include "app/check.h"
#include "app/disk_check.h"
#include "app/dry_run.h"
#include "app/library_memory.h"
#include "app/memory_check.h"
#include "app/report.h"
#include "app/summary.h"
#include "qgalore/base.h"
#include "qgalore/ckpt.h"
#include "train/run_folder.h"
#include "train/stop.h"
#include "train/transport.h"

static qg_status create(qg_session *s, const qg_transport *transport, qg_trainer **trainer)
{
  qg_trainer_request request;
  QG_TRY(qg_session_open_memory(s, qg_dry_run_training, transport->device_pointers, &request));
  QG_TRY(qg_trainer_create(&request, trainer));
  const qg_state_entry *entries;
  int count;
  QG_TRY(qg_optim_state(qg_trainer_optim(*trainer), &entries, &count));
  qg_mem_note(s->mem, QG_OWNER_RUNTIME,
              qg_library_memory_estimate(&s->config, s->be, qg_trainer_partition(*trainer), entries, count));
  return qg_trainer_open_data(*trainer);
}

static void print_data(const qg_session *s, qg_trainer *trainer)
{
  enum { SAMPLE = 1 << 22 }; /* a validation file may be large, and this is but a hint */
  char first[64] = "", count[32];
  int64_t tokens = SAMPLE;
  double entropy = qg_trainer_unigram_entropy(trainer, &tokens);
  if (tokens == SAMPLE)
    snprintf(first, sizeof first, "the first %s of ", qg_format_count(count, sizeof count, (double)tokens));
  if (isfinite(entropy))
    qg_log_info(&s->log, "data      unigram entropy of %s%s: %.4f nats per token", first,
                s->config.data.valid, entropy);
}

static qg_status check_disk(qg_session *s, qg_trainer *trainer)
{
  const qg_state_entry *entries;
  int count;
  QG_TRY(qg_par_agree(s->par, qg_optim_state(qg_trainer_optim(trainer), &entries, &count)));
  bool root = qg_par_is_root(s->grid);
  return qg_par_agree(
      s->par, root ? qg_disk_check(&s->config, qg_ckpt_bytes(entries, count), false, &s->log) : QG_OK);
}

static qg_status print_opening(qg_session *s, const qg_transport *transport, qg_trainer *trainer)
{
  qg_report_banner(&s->log);
  QG_TRY(qg_report_ranks(s->par, &s->log, s->be, qg_trainer_partition(trainer)));
  if (transport->line[0]) qg_log_info(&s->log, "transport %s", transport->line);
  qg_report_input(&s->log, &s->config);
  qg_log_info(&s->log, "\nmemory plan of rank 0");
  qg_memory_print(&s->log, s->be, s->mem);
  qg_log_raw(&s->log, "\n");
  print_data(s, trainer);
  return check_disk(s, trainer);
}

static void print_result(const qg_session *s, const qg_train_summary *end, double rate)
{
  char valid[48] = "";
  if (isfinite(end->valid_loss)) snprintf(valid, sizeof valid, ", validation loss %.4f", end->valid_loss);
  qg_log_info(&s->log, "result    loss %.4f%s after step %lld (%.2f steps/s)", end->loss, valid,
              (long long)end->step, rate);
}

static qg_status print_end(qg_session *s, qg_trainer *trainer, const qg_train_summary *end)
{
  char path[3 * QG_PATH_MAX];
  QG_TRY(qg_report_timing(s->par, &s->log, qg_trainer_timers(trainer), end->seconds));
  QG_TRY(qg_report_refreshes(s->par, &s->log, &s->config.model, qg_trainer_optim(trainer)));
  QG_TRY(qg_report_memory(s->par, &s->log, s->be, s->mem));
  snprintf(path, sizeof path, "%s/%s/metrics.jsonl", s->config.run.output_dir, s->config.run.name);
  if (qg_par_is_root(s->grid)) qg_report_loss_plot(&s->log, path);
  double rate = end->step > end->first_step ? (double)(end->step - end->first_step) / end->seconds : 0.0;
  print_result(s, end, rate);
  qg_summary_print(&s->log, s->options, s->grid->size, end);
  return QG_OK;
}

static qg_status train(qg_session *s, const qg_transport *transport, qg_trainer **trainer)
{
  QG_TRY(qg_par_agree(s->par, create(s, transport, trainer)));
  QG_TRY(print_opening(s, transport, *trainer));
  qg_train_settings settings = {s->started, s->gemm_flops};
  qg_train_summary end;
  QG_TRY(qg_par_sum(s->par, &settings.gemm_flops, 1));
  qg_status status = qg_train_run(*trainer, &s->log, &settings, &end);
  s->alone = !end.agreed;
  QG_TRY(status);
  return print_end(s, *trainer, &end);
}

/* Before anything that takes time: whether this run may write there, and nobody else does. */
static qg_status open_folder(qg_session *s, int *lock)
{
  char path[3 * QG_PATH_MAX];
  qg_status status = QG_OK;
  *lock = -1;
  if (qg_par_is_root(s->grid)) {
    qg_run_folder folder = qg_run_folder_of(&s->config);
    status = qg_run_folder_open(&folder, &s->log, lock);
    snprintf(path, sizeof path, "%s/run.log", folder.root);
    if (status == QG_OK) qg_log_open_file(&s->log, path);
  }
  return qg_par_agree(s->par, status);
}

static qg_status run(qg_session *s)
{
  qg_transport transport;
  qg_trainer *trainer = NULL;
  QG_TRY(qg_transport_choose(&s->config, s->par, s->be, &transport));
  QG_TRY(qg_memory_check(
      &s->config, s->par, s->be, qg_dry_run_training,
      "a smaller train.micro_batch, train.activation_checkpointing = yes or a lower qgalore.rank", &s->log));
  qg_status status = train(s, &transport, &trainer);
  qg_trainer_destroy(trainer);
  return status;
}

qg_status qg_pretrain_run(qg_session *s)
{
  int lock;
  /* Reading and checking files may take minutes, in which a request to stop must not kill. */
  qg_stop_catch_signals();
  QG_TRY(open_folder(s, &lock));
  qg_status status = run(s);
  if (status != QG_OK) qg_log_file_only(&s->log, "error: %s", qg_error_message());
  qg_log_close_file(&s->log);
  if (lock >= 0) close(lock);
  return status;
}
