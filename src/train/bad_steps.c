#include "train/bad_steps.h"

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

void qg_excluded_steps_add(qg_excluded_steps *list, const qg_excluded_step *step)
{
  list->steps[list->count++] = *step;
}

const qg_excluded_step *qg_excluded_steps_find(const qg_excluded_steps *list, int64_t step, int64_t cursor)
{
  for (int i = 0; i < list->count; i++)
    if (list->steps[i].step == step && list->steps[i].cursor == cursor) return &list->steps[i];
  return NULL;
}

void qg_excluded_steps_forget(qg_excluded_steps *list, int64_t step)
{
  int kept = 0;
  for (int i = 0; i < list->count; i++)
    if (list->steps[i].step >= step) list->steps[kept++] = list->steps[i];
  list->count = kept;
}
