/* A job: from the input file to the last line of the log. */
#ifndef QG_APP_JOB_H
#define QG_APP_JOB_H

#include <stdbool.h>

#include "app/options.h"
#include "qgalore/par.h"

/* Runs --check or a training job. *alone: a failure may be this rank's only, and the others may be waiting
 * for it. Collective. */
qg_status qg_job_run(const qg_app_options *options, qg_par *par, double started, bool *alone);

#endif
