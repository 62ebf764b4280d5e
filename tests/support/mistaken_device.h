/* The CUDA backend of a test with tables of its own, in which calls can be replaced by wrong ones. */
#ifndef QG_TESTS_MISTAKEN_DEVICE_H
#define QG_TESTS_MISTAKEN_DEVICE_H

#include "cuda_device.h"

typedef struct {
  qg_backend be;
  qg_backend_ops ops;
  qg_backend_side_ops side;
  qg_backend *real; /* to be closed */
} mistaken_device;

/* Without a mistake so far; false, with a message on stderr, if there is no device. */
static inline bool mistaken_device_open(const char *precision, mistaken_device *device)
{
  qg_backend *real = open_cuda(precision);
  if (!real) return false;
  *device = (mistaken_device){.be = *real, .ops = *real->ops, .side = *real->ops->side, .real = real};
  device->be.ops = &device->ops;
  device->ops.side = &device->side;
  return true;
}

/* In place of side.hold. */
static inline qg_status hold_nothing(qg_backend *be, qg_event *event)
{
  (void)be, (void)event;
  return QG_OK;
}

#endif
