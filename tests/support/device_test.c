#include "device_test.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* cmocka wants the four headers above first. */
#include <cmocka.h>

#include "quant_reference.h"

void *device_test_copy(qg_backend *be, const void *host, size_t bytes)
{
  void *device = NULL;
  assert_int_equal(be->ops->alloc(be, bytes, &device), QG_OK);
  assert_int_equal(be->ops->copy_in(be, device, host, bytes), QG_OK);
  return device;
}

void device_test_expect(qg_backend *be, void *device, const void *expected, size_t bytes)
{
  void *host = malloc(bytes);
  assert_non_null(host);
  assert_int_equal(be->ops->copy_out(be, host, device, bytes), QG_OK);
  assert_memory_equal(host, expected, bytes);
  free(host);
  be->ops->release(be, device, bytes);
}

float *device_test_normals(int64_t count, float spread)
{
  float *x = malloc((size_t)count * sizeof *x);
  assert_non_null(x);
  for (int64_t i = 0; i < count; i++) x[i] = ref_normal((uint64_t)i, spread);
  return x;
}

qg_finite_guard *device_test_closed_guard(qg_backend *be)
{
  qg_finite_guard guard = {0.0, 0.0};
  qg_finite_guard_note(&guard, (double)INFINITY);
  return device_test_copy(be, &guard, sizeof guard);
}
