#include "train/loss_spike.h"

#include <math.h>
#include <string.h>

void qg_loss_window_add(qg_loss_window *window, double loss)
{
  if (!isfinite(loss)) return;
  if (window->count == QG_LOSS_WINDOW)
    memmove(window->loss, window->loss + 1, (size_t)--window->count * sizeof *window->loss);
  window->loss[window->count++] = loss;
}

bool qg_loss_is_spike(const qg_loss_window *window, double factor, double loss)
{
  if (factor <= 0.0 || window->count < QG_LOSS_WINDOW_MIN) return false;
  double sum = 0.0;
  for (int i = 0; i < window->count; i++) sum += window->loss[i];
  return loss > factor * sum / window->count;
}
