/* What every job has: the input, the ranks, a backend and a ledger. */
#ifndef QG_APP_SESSION_H
#define QG_APP_SESSION_H

#include "app/dry_run.h"
#include "app/options.h"
#include "qgalore/backend.h"
#include "qgalore/base/log.h"
#include "qgalore/config.h"
#include "qgalore/memory.h"
#include "qgalore/par.h"

typedef struct {
  const qg_app_options *options;
  qg_par *par;
  const qg_grid *grid;
  double started; /* qg_now() when the program began */
  qg_log log;
  qg_config config;
  qg_backend *be;
  qg_mem *mem;       /* live; what a job takes lasts until the session closes */
  double gemm_flops; /* of this rank; 0 where the backend is only planned */
  bool alone; /* a failure of this rank that the others have not agreed upon: they may be waiting for it */
} qg_session;

/* Reads the input for one of the jobs. Close it also after a failure. Collective, with a result that all
 * ranks share. */
qg_status qg_session_open(const qg_app_options *options, qg_par *par, double started,
                          const qg_job_input *jobs, int count, qg_session *session);
/* Opens the backend and measures it; `plan`: where its device is not here, only sizes will be asked for.
 * Collective. */
qg_status qg_session_open_backend(qg_session *session, bool plan);
/* A live ledger, with what the program holds already, and the request of this rank for what `job` creates in
 * it; where the device has memory of its own, that is reserved. Local. */
qg_status qg_session_open_memory(qg_session *session, qg_dry_run_job job, bool device_pointers,
                                 qg_trainer_request *request);
void qg_session_close(qg_session *session);

#endif
