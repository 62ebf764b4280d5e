/* How activations travel between the devices of neighbouring stages, and tied gradients between the ends. */
#ifndef QG_TRAIN_TRANSPORT_H
#define QG_TRAIN_TRANSPORT_H

#include "qgalore/backend.h"
#include "qgalore/config.h"
#include "qgalore/par.h"

typedef struct {
  bool device_pointers; /* MPI gets pointers to device memory; else they travel through host memory */
  char line[256];       /* for the log: the choice and its reason; "" if no two devices exchange anything */
} qg_transport;

/* Follows parallel.transport: device pointers only if every MPI library takes them and known bytes arrive
 * between all neighbours and both ends, in both directions, as they were sent. With `device` what speaks
 * against it is QG_ERR_RESOURCE, else it is the reason in the line. Collective. */
qg_status qg_transport_choose(const qg_config *config, qg_par *par, qg_backend *be, qg_transport *out);

#endif
