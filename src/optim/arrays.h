/* Device arrays that a sink stores, as one list: taken from the ledger, given back, cleared and saved by the
 * same loop. */
#ifndef QG_OPTIM_ARRAYS_H
#define QG_OPTIM_ARRAYS_H

#include "qgalore/base/state.h"
#include "qgalore/memory.h"
#include "qgalore/spec/param.h"

enum { QG_SINK_ARRAYS_MAX = 4 };

typedef struct {
  const char *field; /* of the checkpoint's dataset */
  qg_dtype type;
  int64_t elements;
  void **data; /* where the pointer is kept */
} qg_sink_array;

/* All of one part of a sink. */
typedef struct {
  qg_sink_array arrays[QG_SINK_ARRAYS_MAX];
  int count;
} qg_sink_arrays;

qg_status qg_arrays_take(const qg_sink_arrays *list, qg_mem *mem, qg_owner owner, const char *name);
void qg_arrays_release(const qg_sink_arrays *list, qg_mem *mem, qg_owner owner);
qg_status qg_arrays_clear(const qg_sink_arrays *list, qg_backend *be);
/* As "GROUP/DATASET/FIELD" of the parameter. */
qg_status qg_arrays_list_state(const qg_sink_arrays *list, const char *group, const qg_param *param,
                               qg_state_list *state);

#endif
