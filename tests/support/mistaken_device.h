/* The CUDA backend of a test with tables of its own, in which calls can be replaced by wrong ones. */
#ifndef QG_TESTS_MISTAKEN_DEVICE_H
#define QG_TESTS_MISTAKEN_DEVICE_H

#include "cuda_device.h"

typedef struct {
  qg_backend be; /* first: what calls are handed leads to the rest */
  qg_backend_ops ops;
  qg_backend_async_ops async;
  qg_backend *real; /* to be closed */
} mistaken_device;

/* Without a mistake so far; false, with a message on stderr, if there is no device. */
static inline bool mistaken_device_open(const char *precision, mistaken_device *device)
{
  qg_backend *real = open_cuda(precision);
  if (!real) return false;
  *device = (mistaken_device){.be = *real, .ops = *real->ops, .async = *real->ops->async, .real = real};
  device->be.ops = &device->ops;
  device->ops.async = &device->async;
  return true;
}

/* In place of async.wait_event. */
static inline qg_status wait_for_nothing(qg_backend *be, qg_event *event)
{
  (void)be, (void)event;
  return QG_OK;
}

/* In place of async.copy_in and async.copy_out. */
static inline qg_status copy_in_at_once(qg_backend *be, void *to, const void *host, size_t bytes,
                                        qg_event *after, qg_event *done)
{
  (void)after;
  return ((mistaken_device *)be)->real->ops->async->copy_in(be, to, host, bytes, NULL, done);
}

static inline qg_status copy_out_at_once(qg_backend *be, void *host, const void *from, size_t bytes,
                                         qg_event *after, qg_event *done)
{
  (void)after;
  return ((mistaken_device *)be)->real->ops->async->copy_out(be, host, from, bytes, NULL, done);
}

#endif
