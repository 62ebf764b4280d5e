#include "train/stop.h"

#include <unistd.h>

bool qg_stop_walltime_due(const qg_stop_watch *watch, double now)
{
  if (watch->walltime <= 0.0) return false;
  double remaining = watch->walltime - (now - watch->started);
  return remaining < 1.5 * watch->longest_save + 2.0 * watch->longest_step + 30.0;
}

bool qg_stop_file_exists(const qg_stop_watch *watch)
{
  return access(watch->stop_file, F_OK) == 0;
}
