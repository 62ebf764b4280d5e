#include "qgalore/base.h"
#include "qgalore/train.h"

static int warm_up_forwards(int stages, int stage, int micro_batches)
{
  return (int)qg_min_i64(stages - stage - 1, micro_batches);
}

/* Narayanan et al., arXiv 2104.04473, section 2.2: the non-interleaved 1F1B schedule. */
void qg_pipeline_schedule_1f1b(int stages, int stage, int micro_batches, qg_op *out)
{
  int warm = warm_up_forwards(stages, stage, micro_batches);
  int forward = 0, backward = 0;
  while (forward < warm) *out++ = (qg_op){QG_OP_FORWARD, forward++};
  while (forward < micro_batches) {
    *out++ = (qg_op){QG_OP_FORWARD, forward++};
    *out++ = (qg_op){QG_OP_BACKWARD, backward++};
  }
  while (backward < micro_batches) *out++ = (qg_op){QG_OP_BACKWARD, backward++};
}

int qg_pipeline_schedule_in_flight(int stages, int stage, int micro_batches)
{
  return (int)qg_min_i64(stages - stage, micro_batches);
}

double qg_pipeline_schedule_bubble(int stages, int micro_batches)
{
  return (double)(stages - 1) / (double)(micro_batches + stages - 1);
}
