/* What a rank of a job will need: the creators of the run against a ledger that only counts. */
#ifndef QG_APP_PLAN_H
#define QG_APP_PLAN_H

#include "qgalore/config.h"
#include "qgalore/train.h"

typedef struct {
  qg_mem *mem;
  qg_trainer *trainer;
} qg_plan;

/* Of rank `stage` of `stages`; `runtime`: bytes that the process takes before. Local; qg_plan_drop also after
 * a failure. */
qg_status qg_plan_make(const qg_config *config, qg_backend *be, int stage, int stages, size_t runtime,
                       qg_plan *out);
void qg_plan_drop(qg_plan *plan);

#endif
