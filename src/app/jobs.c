#include "app/jobs.h"

#include <string.h>

#include "app/check.h"
#include "app/evaluate.h"
#include "app/pretrain.h"
#include "qgalore/base.h"

static const qg_job jobs[] = {
    {{"pretrain", "model data train optimizer qgalore"}, qg_pretrain_run, qg_check_training},
    {{"evaluate", "model"}, qg_evaluate_run, qg_check_evaluation},
    {{"check", "model data train optimizer qgalore"}, qg_check_training, qg_check_training},
};

enum { JOBS = QG_COUNT_OF(jobs) };

static const qg_job *find(const char *name)
{
  const qg_job *job = jobs;
  while (strcmp(job->input.name, name) != 0) job++; /* the input has been checked against the table */
  return job;
}

static qg_status run(qg_session *session)
{
  const qg_job *job = find(session->config.run.job);
  bool check = session->options->action == QG_ACTION_CHECK || job->run == job->check;
  QG_CHECK(check || session->options->ranks == 0, QG_ERR_INPUT,
           "command line: --ranks belongs to --check; a run has as many ranks as mpirun -np starts");
  QG_TRY(qg_session_open_backend(session, check));
  return check ? job->check(session) : job->run(session);
}

qg_status qg_jobs_run(const qg_app_options *options, qg_par *par, double started, bool *alone)
{
  qg_job_input inputs[JOBS];
  qg_session session;
  for (int i = 0; i < JOBS; i++) inputs[i] = jobs[i].input;
  qg_status status = qg_session_open(options, par, started, inputs, JOBS, &session);
  if (status == QG_OK) status = run(&session);
  if (status == QG_OK && options->action == QG_ACTION_CHECK && qg_par_is_root(qg_par_grid(par)))
    status = qg_finish_output(stdout);
  *alone = session.alone;
  qg_session_close(&session);
  return status;
}
