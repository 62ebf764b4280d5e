/* What serve_step answers to "operations", for bench_step. */
#ifndef QG_TESTS_STEP_OPERATIONS_H
#define QG_TESTS_STEP_OPERATIONS_H

#include "support/bench/timed_backend.h"

/* Seconds of the step; seconds of each kind of operation;FLOPs of its GEMMs; seconds that the GEMMs of
 * another step took in oneDNN, 0 without oneDNN. */
enum {
  STEP_SECONDS,
  STEP_KINDS,
  STEP_GEMM_FLOPS = STEP_KINDS + TIMED_COUNT,
  STEP_ONEDNN_SECONDS,
  STEP_ANSWERS
};

static inline double timed_gemm_seconds(const timed_backend *timed)
{
  return timed->seconds[TIMED_GEMM_FORWARD] + timed->seconds[TIMED_GEMM_INPUT] +
         timed->seconds[TIMED_GEMM_WEIGHT];
}

static inline double timed_gemm_flops(const timed_backend *timed)
{
  return timed->flops[TIMED_GEMM_FORWARD] + timed->flops[TIMED_GEMM_INPUT] + timed->flops[TIMED_GEMM_WEIGHT];
}

#endif
