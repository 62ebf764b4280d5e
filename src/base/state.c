#include "qgalore/base/state.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 256 };

static qg_status grow(qg_state_list *list)
{
  int capacity = list->capacity > 0 ? 2 * list->capacity : FIRST_CAPACITY;
  qg_state_entry *entries = realloc(list->entries, (size_t)capacity * sizeof *entries);
  QG_CHECK(entries, QG_ERR_RESOURCE, "no host memory for the list of saved state");
  list->entries = entries;
  list->capacity = capacity;
  return QG_OK;
}

qg_status qg_state_append(qg_state_list *list, const char *group, const char *module, const char *field,
                          const qg_state_entry *entry)
{
  if (list->count == list->capacity) QG_TRY(grow(list));
  qg_state_entry *added = &list->entries[list->count++];
  *added = *entry;
  snprintf(added->dataset, sizeof added->dataset, "%s/%s/%s", group, module, field);
  return QG_OK;
}
