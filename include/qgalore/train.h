/* One training job on this rank's stage: the step, the loop, and its decisions. */
#ifndef QGALORE_TRAIN_H
#define QGALORE_TRAIN_H

#include "qgalore/backend.h"
#include "qgalore/base/log.h"
#include "qgalore/base/status.h"
#include "qgalore/base/timer.h"
#include "qgalore/config.h"
#include "qgalore/data.h"
#include "qgalore/memory.h"
#include "qgalore/model.h"
#include "qgalore/optim.h"
#include "qgalore/par.h"

/* One operation of a stage's pipeline schedule. */
typedef enum { QG_OP_FORWARD, QG_OP_BACKWARD } qg_op_kind;
typedef struct {
  qg_op_kind kind;
  int micro_batch;
} qg_op;

/* The one-forward-one-backward schedule of a stage: min(p-s-1, m) warm-up forwards, then pairs, then cool-down. Writes
 * 2 * micro_batches operations. At most qg_pipeline_schedule_in_flight micro-batches are between their forward and backward. Pure. */
void qg_pipeline_schedule_1f1b(int stages, int stage, int micro_batches, qg_op *out);
int qg_pipeline_schedule_in_flight(int stages, int stage, int micro_batches);
/* Idle share of an ideal pipeline: (p - 1) / (m + p - 1). */
double qg_pipeline_schedule_bubble(int stages, int micro_batches);

/* Everything that one rank holds of a training job. */
typedef struct qg_trainer qg_trainer;

typedef struct {
  const qg_config *config;
  qg_backend *be;       /* in a dry trainer only asked for sizes */
  qg_par *par;          /* NULL: dry */
  qg_mem *mem;          /* dry or live */
  int stage, stages;
  bool device_pointers; /* activations travel by device pointers (train/transport.h) */
} qg_trainer_request;

/* Takes all memory of a stage from the ledger. On failure *out holds what was made; destroy it in any case. Local. */
qg_status qg_trainer_create(const qg_trainer_request *request, qg_trainer **out);
void qg_trainer_destroy(qg_trainer *trainer);
/* Opens data.train and data.valid where this rank reads them. Local: the caller agrees. */
qg_status qg_trainer_open_data(qg_trainer *trainer);

/* Why qg_train_run returned, for the last lines of the log and the status file. */
typedef enum { QG_STOP_FINISHED, QG_STOP_REQUESTED, QG_STOP_WALLTIME, QG_STOP_FILE } qg_stop_reason;

typedef struct {
  qg_stop_reason reason;
  int64_t step;               /* steps done */
  int64_t tokens;
  double loss, valid_loss;    /* last values; valid_loss NaN if never validated */
  double seconds;             /* of this attempt */
  int64_t first_step;         /* where this attempt began */
  bool agreed;                /* every rank returned the same failure; else the others may be waiting for this one */
} qg_train_summary;

typedef struct {
  double started;     /* qg_now() when the program began, for run.max_walltime */
  double gemm_flops;  /* measured GEMM rate of all ranks together, for the log; 0: unknown */
} qg_train_settings;

/* Restores (run.restart), trains, validates, saves, until done or asked to stop. Collective. */
qg_status qg_train_run(qg_trainer *trainer, const qg_log *log, const qg_train_settings *settings,
                       qg_train_summary *summary);

/* For reports. */
const qg_timers *qg_trainer_timers(const qg_trainer *trainer);
const qg_partition *qg_trainer_partition(const qg_trainer *trainer);
qg_optim *qg_trainer_optim(qg_trainer *trainer);
/* Nats per token that a model of token frequencies alone would reach on the first *tokens of data.valid, which becomes how many
 * there were; NaN where this rank has no such file. */
double qg_trainer_unigram_entropy(qg_trainer *trainer, int64_t *tokens);

#endif
