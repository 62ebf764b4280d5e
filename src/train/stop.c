#include "train/stop.h"

#include <math.h>
#include <unistd.h>

#include "qgalore/base.h"
#include "train/signals.h"

bool qg_stop_walltime_due(const qg_stop_watch *watch, double now)
{
  if (watch->walltime <= 0.0) return false;
  double remaining = watch->walltime - (now - watch->started);
  return remaining < 1.5 * watch->longest_save + 2.0 * watch->longest_step + 30.0;
}

static qg_request request_of(const qg_stop_watch *watch)
{
  if (watch->root && qg_stop_walltime_due(watch, qg_now())) return QG_REQUEST_WALLTIME;
  if (watch->root && access(watch->stop_file, F_OK) == 0) return QG_REQUEST_STOP_FILE;
  if (qg_signals_stop()) return QG_REQUEST_SIGNAL;
  return qg_signals_take_save() ? QG_REQUEST_SAVE : QG_REQUEST_NONE;
}

static double weight(qg_request request)
{
  return request == QG_REQUEST_NONE ? 0.0 : ldexp(1.0, 16 * ((int)request - 1));
}

double qg_stop_cast_vote(const void *watch)
{
  return weight(request_of(watch));
}

qg_request qg_stop_decide(double sum)
{
  qg_request request = QG_REQUEST_WALLTIME;
  while (request > QG_REQUEST_NONE && sum < weight(request)) request--;
  return request;
}
