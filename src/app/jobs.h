/* The jobs of the program, which run.job names. */
#ifndef QG_APP_JOBS_H
#define QG_APP_JOBS_H

#include "app/session.h"

/* One row a job; src/app has a file for each. All calls are collective. */
typedef struct {
  qg_job_input input; /* its name, and the sections of the input that it needs */
  qg_status (*run)(qg_session *session);
  qg_status (*check)(qg_session *session); /* --check: what run would need, without running it */
} qg_job;

/* Runs the job of the input, or its check where the command line asks for that. *alone: after a failure,
 * whether this rank failed without the others. Collective. */
qg_status qg_jobs_run(const qg_app_options *options, qg_par *par, double started, bool *alone);

#endif
