#include "train/spike.h"

#include <math.h>
#include <string.h>

void qg_spike_add(qg_spike_window *window, double loss)
{
  if (!isfinite(loss)) return;
  if (window->count == QG_SPIKE_WINDOW)
    memmove(window->loss, window->loss + 1, (size_t)--window->count * sizeof *window->loss);
  window->loss[window->count++] = loss;
}

bool qg_spike_seen(const qg_spike_window *window, double factor, double loss)
{
  if (factor <= 0.0 || window->count < QG_SPIKE_LEAST) return false;
  double sum = 0.0;
  for (int i = 0; i < window->count; i++) sum += window->loss[i];
  return loss > factor * sum / window->count;
}
