#include "qgalore/timer.h"

#include "qgalore/base.h"

const char *qg_phase_name(qg_phase phase)
{
  static const char *const names[QG_PHASE_COUNT] = {
      [QG_PHASE_DATA] = "data",         [QG_PHASE_FORWARD] = "forward",
      [QG_PHASE_BACKWARD] = "backward", [QG_PHASE_LOSS] = "loss",
      [QG_PHASE_WAIT] = "wait",         [QG_PHASE_REFRESH] = "subspaces",
      [QG_PHASE_UPDATE] = "update",     [QG_PHASE_REDUCE] = "reduce",
      [QG_PHASE_VALIDATE] = "validate", [QG_PHASE_CHECKPOINT] = "checkpoint",
  };
  return names[phase];
}

void qg_timer_start(qg_timers *timers, qg_phase phase)
{
  timers->outer[phase] = timers->running;
  timers->running = (int)phase + 1;
  timers->started[phase] = qg_now();
}

void qg_timer_stop(qg_timers *timers, qg_phase phase)
{
  timers->seconds[phase] += qg_now() - timers->started[phase];
  timers->running = timers->outer[phase];
}
