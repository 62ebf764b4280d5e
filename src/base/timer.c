#include "qgalore/base/timer.h"

#include <time.h>

#include "qgalore/base.h"

double qg_now(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

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

/* The seconds since the last change go to the phase that was charged so far. */
static void charge(qg_timers *timers, int charged)
{
  double now = qg_now();
  if (timers->charged) timers->seconds[timers->charged - 1] += now - timers->since;
  timers->since = now;
  timers->charged = charged;
}

void qg_timer_start(qg_timers *timers, qg_phase phase)
{
  timers->outer[phase] = timers->running;
  timers->outer_charged[phase] = timers->charged;
  timers->running = (int)phase + 1;
  charge(timers, timers->charged == QG_PHASE_VALIDATE + 1 ? timers->charged : (int)phase + 1);
  if (timers->clock.device)
    timers->clock.begin(timers->clock.device, qg_phase_name(phase), timers->charged - 1);
}

void qg_timer_stop(qg_timers *timers, qg_phase phase)
{
  timers->running = timers->outer[phase];
  charge(timers, timers->outer_charged[phase]);
  if (timers->clock.device) timers->clock.end(timers->clock.device, timers->charged - 1);
}
