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

/* Seconds so far go to the one who paid for them. */
static void hand_over(qg_timers *timers, int payer)
{
  double now = qg_now();
  if (timers->payer) timers->seconds[timers->payer - 1] += now - timers->since;
  timers->since = now;
  timers->payer = payer;
}

void qg_timer_start(qg_timers *timers, qg_phase phase)
{
  timers->outer[phase] = timers->running;
  timers->outer_payer[phase] = timers->payer;
  timers->running = (int)phase + 1;
  hand_over(timers, timers->payer == QG_PHASE_VALIDATE + 1 ? timers->payer : (int)phase + 1);
  if (timers->clock.device)
    timers->clock.begin(timers->clock.device, qg_phase_name(phase), timers->payer - 1);
}

void qg_timer_stop(qg_timers *timers, qg_phase phase)
{
  timers->running = timers->outer[phase];
  hand_over(timers, timers->outer_payer[phase]);
  if (timers->clock.device) timers->clock.end(timers->clock.device, timers->payer - 1);
}
