#include "qgalore/app.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/jobs.h"
#include "app/options.h"
#include "app/report.h"
#include "app/status.h"
#include "qgalore/base.h"
#include "qgalore/ckpt.h"
#include "train/stop.h"

static qg_status fail(qg_status status)
{
  fprintf(stderr, "error: %s\n", qg_error_message());
  if (status == QG_ERR_RUNTIME || getenv("QGALORE_TRACE")) fputs(qg_error_trace(), stderr);
  return status;
}

static qg_status help_input(const char *topic)
{
  if (!topic || strcmp(topic, "markdown") != 0) return qg_config_help(stdout, topic);
  qg_config_write_markdown(stdout);
  return QG_OK;
}

static qg_status list_backends(void)
{
  char text[2048];
  qg_backend_list(text, sizeof text);
  fputs(text, stdout);
  return QG_OK;
}

static qg_status verify(const char *path)
{
  QG_TRY(qg_ckpt_verify(path));
  printf("%s is complete and undamaged\n", path);
  return QG_OK;
}

/* What needs neither ranks nor input. */
static qg_status inform(const qg_app_options *options)
{
  switch (options->action) {
    case QG_ACTION_HELP_INPUT:
      return help_input(options->argument);
    case QG_ACTION_VERSION:
      qg_report_version(stdout);
      return QG_OK;
    case QG_ACTION_LIST_BACKENDS:
      return list_backends();
    case QG_ACTION_STATUS:
      return qg_status_print(stdout, options->argument);
    case QG_ACTION_VERIFY:
      return verify(options->argument);
    default:
      qg_options_usage(stdout);
      return QG_OK;
  }
}

/* MPI calls of other ranks fail when a rank leaves: such a failure is not the cause. */
static bool follows_from_another(void)
{
  return strncmp(qg_error_message(), "MPI_", 4) == 0;
}

/* What is agreed upon all ranks leave with together, and rank 0 speaks. Otherwise one rank may have failed
 * alone: it must speak and take the others down, which may be waiting for it. The others wait a moment in
 * case they fail for the same reason, and what follows from another failure waits for its cause, so that one
 * message comes out, the first. */
static void abort_job(qg_par *par, qg_status status)
{
  enum { SECONDS_FOR_RANK_0 = 2, SECONDS_FOR_THE_CAUSE = 4 };
  qg_stop_restore_signals();
  if (follows_from_another()) sleep(SECONDS_FOR_THE_CAUSE);
  else if (!qg_par_is_root(qg_par_grid(par)))
    sleep(SECONDS_FOR_RANK_0);
  fail(status);
  qg_par_abort(par, status);
}

static qg_status with_ranks(const qg_app_options *options, qg_par *par, double started)
{
  bool alone = false;
  qg_status status = qg_jobs_run(options, par, started, &alone);
  if (status == QG_OK) return QG_OK;
  if (alone && qg_par_grid(par)->size > 1) abort_job(par, status);
  if (qg_par_is_root(qg_par_grid(par))) fail(status);
  return status;
}

/* A rank that ends before rank 0 has spoken may take it down: launchers kill the others. So all leave
 * together. */
static qg_status refuse(int argc, char **argv, qg_status status)
{
  char message[2048];
  qg_par *par = NULL;
  snprintf(message, sizeof message, "%s", qg_error_message());
  bool together = qg_par_init(&argc, &argv, &par) == QG_OK;
  qg_error_adopt(status, message);
  if (!together || qg_par_is_root(qg_par_grid(par))) fail(status);
  qg_par_finalize(par);
  return status;
}

qg_status qg_app_main(int argc, char **argv)
{
  double started = qg_now();
  qg_subnormals_flush();
  qg_app_options options;
  qg_par *par = NULL;
  qg_status status = qg_options_parse(argc, argv, &options);
  if (status != QG_OK) return refuse(argc, argv, status);
  if (options.action != QG_ACTION_TRAIN && options.action != QG_ACTION_CHECK) {
    status = inform(&options);
    if (status == QG_OK) status = qg_finish_output(stdout);
    return status == QG_OK ? QG_OK : fail(status);
  }
  /* A reader that goes away (| head, Ctrl-C with | tee) does not end a run. */
  signal(SIGPIPE, SIG_IGN);
  status = qg_par_init(&argc, &argv, &par);
  if (status != QG_OK) return fail(status);
  status = with_ranks(&options, par, started);
  qg_par_finalize(par);
  return status;
}
