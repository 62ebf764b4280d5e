#include "train/left_out.h"

void qg_left_out_add(qg_left_out_list *list, const qg_left_out *step)
{
  list->steps[list->count++] = *step;
}

const qg_left_out *qg_left_out_find(const qg_left_out_list *list, int64_t step, int64_t cursor)
{
  for (int i = 0; i < list->count; i++)
    if (list->steps[i].step == step && list->steps[i].cursor == cursor) return &list->steps[i];
  return NULL;
}

void qg_left_out_forget(qg_left_out_list *list, int64_t step)
{
  int kept = 0;
  for (int i = 0; i < list->count; i++)
    if (list->steps[i].step >= step) list->steps[kept++] = list->steps[i];
  list->count = kept;
}
