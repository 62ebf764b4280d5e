/* What a rank of a job will need: the creators of the job against a ledger that only counts. */
#ifndef QG_APP_DRY_RUN_H
#define QG_APP_DRY_RUN_H

#include "qgalore/backend.h"
#include "qgalore/config.h"
#include "qgalore/memory.h"
#include "qgalore/model.h"
#include "qgalore/train.h"

typedef struct {
  qg_mem *mem; /* dry; destroy it */
  qg_partition part;
  int64_t checkpoint; /* bytes of one */
} qg_dry_run;

/* The request of rank `stage` of `stages` where only a plan is wanted. */
qg_trainer_request qg_dry_run_request(const qg_config *config, qg_backend *be, int stage, int stages);

/* Of the rank of `request`, whose ranks and ledger play no part; `runtime`: bytes that the process takes
 * before. out->mem is set also after a failure. Local. */
typedef qg_status (*qg_dry_run_job)(const qg_trainer_request *request, size_t runtime, qg_dry_run *out);

qg_status qg_dry_run_training(const qg_trainer_request *request, size_t runtime, qg_dry_run *out);
qg_status qg_dry_run_evaluation(const qg_trainer_request *request, size_t runtime, qg_dry_run *out);

/* Reserves in the ledger of `request`, which is live and empty, what `job` will take on a device with memory
 * of its own. Local. */
qg_status qg_dry_run_reserve(const qg_trainer_request *request, qg_dry_run_job job);

#endif
