#include "train/excluded_steps.h"

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
