/* The items that this rank writes, and their copies in the snapshot, so that the state may change while they
 * are written. */
#ifndef QG_CKPT_LOCAL_ITEMS_H
#define QG_CKPT_LOCAL_ITEMS_H

#include "ckpt/placement.h"
#include "qgalore/backend.h"

/* One item that this rank writes. `data` is host memory unless on_device. */
typedef struct {
  const void *data;
  bool on_device;
  char *copy;  /* in the snapshot, if there is one */
  int dataset; /* number in the layout */
  int64_t item;
} qg_ckpt_local_item;

typedef struct {
  qg_ckpt_local_item *items; /* [count], in the order of the layout */
  int64_t count;
} qg_ckpt_local_items;

/* Free with qg_ckpt_local_items_free. Local. */
qg_status qg_ckpt_local_items_make(const qg_ckpt_placement *placement, const qg_backend *be,
                                   const qg_state_entry *entries, int count, qg_ckpt_local_items *out);
void qg_ckpt_local_items_free(qg_ckpt_local_items *local);

/* Assigns each item its bytes of `snapshot`, one behind the other, and copies those on the device. Local. */
qg_status qg_ckpt_local_items_copy_device(const qg_ckpt_placement *placement, qg_backend *be,
                                          const qg_ckpt_local_items *local, void *snapshot);

/* Copies those in host memory; from here on all items refer to their copies. Neither MPI nor the backend
 * takes part: a background thread may do it. Local. */
void qg_ckpt_local_items_copy_host(const qg_ckpt_placement *placement, const qg_ckpt_local_items *local);

#endif
