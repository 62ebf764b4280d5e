#include "app/job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/check.h"
#include "app/devices.h"
#include "app/environment.h"
#include "app/hardware.h"
#include "app/library_memory.h"
#include "app/memory_check.h"
#include "app/report.h"
#include "app/summary.h"
#include "qgalore/base.h"
#include "train/stop.h"
#include "train/transport.h"

typedef struct {
  const qg_app_options *options;
  qg_par *par;
  const qg_grid *grid;
  qg_log log;
  qg_config config;
  qg_backend *be;
  qg_transport transport;
  qg_mem *mem;
  qg_trainer *trainer;
  double gemm_flops; /* this rank */
} job;

/* mpirun gives ranks a pseudo terminal even when its own output goes to a file; what the launcher writes to
 * decides. */
static bool output_is_terminal(void)
{
  char link[64], target[256];
  if (!getenv("OMPI_COMM_WORLD_RANK")) return isatty(STDOUT_FILENO);
  snprintf(link, sizeof link, "/proc/%d/fd/1", (int)getppid());
  ssize_t length = readlink(link, target, sizeof target - 1);
  if (length <= 0) return false;
  target[length] = '\0';
  return strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0;
}

static qg_status prepare(job *j)
{
  const qg_app_options *o = j->options;
  QG_TRY(qg_par_agree(j->par, qg_environment_check()));
  QG_TRY(qg_par_agree(j->par, qg_config_load(o->file, o->overrides, o->override, &j->config)));
  bool plan = o->action == QG_ACTION_CHECK;
  QG_TRY(qg_par_agree(j->par, qg_hardware_open_backend(&j->config, j->grid, plan, &j->be)));
  QG_TRY(qg_devices_check(&j->config, j->par, j->be));
  if (j->be->planned) return QG_OK;
  QG_TRY(qg_par_agree(j->par, qg_library_memory_warm_up(j->be)));
  QG_TRY(qg_par_barrier(j->par)); /* the ranks of a node share its speed: measure together */
  return qg_par_agree(j->par, qg_hardware_gemm_rate(j->be, &j->gemm_flops));
}

static qg_status check(job *j)
{
  int ranks = j->options->ranks ? j->options->ranks : j->grid->size;
  qg_status status = QG_OK;
  if (qg_par_is_root(j->grid)) {
    qg_report_banner(&j->log);
    status = qg_check_print(&j->log, &j->config, j->be, ranks, j->gemm_flops);
  }
  return qg_par_agree(j->par, status);
}

static qg_status create(job *j)
{
  size_t runtime = qg_memory_resident();
  QG_TRY(qg_mem_create(j->be, &j->mem));
  qg_mem_note(j->mem, QG_OWNER_RUNTIME, runtime);
  qg_mem_note_device(j->mem, &j->be->share);
  qg_trainer_request request = {.config = &j->config,
                                .be = j->be,
                                .par = j->par,
                                .mem = j->mem,
                                .stage = j->grid->stage,
                                .stages = j->grid->stages,
                                .device_pointers = j->transport.device_pointers};
  if (!j->be->ops->unified_memory) QG_TRY(qg_trainer_reserve(&request));
  QG_TRY(qg_trainer_create(&request, &j->trainer));
  qg_mem_note(j->mem, QG_OWNER_RUNTIME, qg_library_memory_estimate(&j->config, j->be, j->trainer));
  return qg_trainer_open_data(j->trainer);
}

static void print_data(const job *j)
{
  double entropy = qg_trainer_unigram_entropy(j->trainer);
  if (isfinite(entropy))
    qg_log_info(&j->log, "data      unigram entropy of %s: %.4f nats per token", j->config.data.valid,
                entropy);
}

static qg_status print_opening(job *j)
{
  qg_report_banner(&j->log);
  QG_TRY(qg_report_ranks(j->par, &j->log, j->be, qg_trainer_partition(j->trainer)));
  if (j->transport.line[0]) qg_log_info(&j->log, "transport %s", j->transport.line);
  qg_report_input(&j->log, &j->config);
  qg_log_info(&j->log, "\nmemory plan of rank 0");
  qg_memory_print(&j->log, j->be, j->mem);
  qg_log_raw(&j->log, "\n");
  print_data(j);
  return QG_OK;
}

static void print_result(const job *j, const qg_train_summary *s, double rate)
{
  char valid[48] = "";
  if (isfinite(s->valid_loss)) snprintf(valid, sizeof valid, ", validation loss %.4f", s->valid_loss);
  qg_log_info(&j->log, "result    loss %.4f%s after step %lld (%.2f steps/s)", s->loss, valid,
              (long long)s->step, rate);
}

static qg_status print_closing(job *j, const qg_train_summary *s)
{
  char path[3 * QG_PATH_MAX];
  QG_TRY(qg_report_timing(j->par, &j->log, qg_trainer_timers(j->trainer), s->seconds));
  QG_TRY(qg_report_refreshes(j->par, &j->log, &j->config.model, qg_trainer_optim(j->trainer)));
  QG_TRY(qg_report_memory(j->par, &j->log, j->be, j->mem));
  snprintf(path, sizeof path, "%s/%s/metrics.jsonl", j->config.run.output_dir, j->config.run.name);
  if (qg_par_is_root(j->grid)) qg_report_loss_plot(&j->log, path);
  double rate = s->step > s->first_step ? (double)(s->step - s->first_step) / s->seconds : 0.0;
  print_result(j, s, rate);
  qg_summary_print(&j->log, j->options, j->grid->size, s);
  return QG_OK;
}

static qg_status train(job *j, double started, bool *alone)
{
  /* Reading and checking files may take minutes, in which a request to stop must not kill. */
  qg_stop_catch_signals();
  QG_TRY(qg_transport_choose(&j->config, j->par, j->be, &j->transport));
  QG_TRY(qg_memory_check(&j->config, j->par, j->be, &j->log));
  QG_TRY(qg_par_agree(j->par, create(j)));
  QG_TRY(print_opening(j));
  qg_train_settings settings = {started, j->gemm_flops};
  qg_train_summary summary;
  QG_TRY(qg_par_sum(j->par, &settings.gemm_flops, 1));
  qg_status status = qg_train_run(j->trainer, &j->log, &settings, &summary);
  *alone = !summary.agreed;
  QG_TRY(status);
  return print_closing(j, &summary);
}

qg_status qg_job_run(const qg_app_options *options, qg_par *par, double started, bool *alone)
{
  job j = {.options = options, .par = par, .grid = qg_par_grid(par)};
  j.log = qg_log_make(stdout, qg_par_is_root(j.grid));
  j.log.terminal = qg_par_is_root(j.grid) && output_is_terminal();
  qg_status status = prepare(&j);
  if (status == QG_OK) status = options->action == QG_ACTION_CHECK ? check(&j) : train(&j, started, alone);
  qg_trainer_destroy(j.trainer);
  qg_mem_destroy(j.mem);
  if (j.be) qg_backend_close(j.be);
  return status;
}
