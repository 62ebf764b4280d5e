/* What a user sees during training: one line of fixed columns a step and, on a terminal, a bar with the time
 * left. */
#ifndef QG_TRAIN_PROGRESS_H
#define QG_TRAIN_PROGRESS_H

#include "qgalore/base/log.h"
#include "train/step.h"

typedef struct {
  const qg_log *log;
  int64_t first_step, steps, log_every;
  double started;         /* of the first step of this attempt */
  double first_seconds;   /* of that step */
  double flops_per_token; /* model convention */
  double peak_flops;      /* measured GEMM rate of all ranks together, 0: unknown */
} qg_progress;

/* The column headings. */
void qg_progress_header(const qg_progress *progress);
/* After step number `done` (1-based). seconds: of this step. */
void qg_progress_step(const qg_progress *progress, int64_t done, int64_t tokens, const qg_step_result *result,
                      double seconds);
void qg_progress_validation(const qg_progress *progress, int64_t done, const qg_validation_result *result);
/* Removes the bar, so that ordinary lines can follow. */
void qg_progress_clear(const qg_progress *progress);

#endif
