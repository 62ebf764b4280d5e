/* Memory on both sides, for tests that a backend on a device runs too: they touch device memory only through
 * alloc, copy_in, copy_out and release. Each call fails the test if the backend fails. */
#ifndef QG_TESTS_DEVICE_TEST_H
#define QG_TESTS_DEVICE_TEST_H

#include "qgalore/backend.h"

/* Fresh device memory with a copy of host memory. */
void *device_test_copy(qg_backend *be, const void *host, size_t bytes);

/* Compares device memory with the expected bytes and releases it. */
void device_test_expect(qg_backend *be, void *device, const void *expected, size_t bytes);

/* A guard in fresh device memory that an infinite sum has closed. */
qg_finite_guard *device_test_closed_guard(qg_backend *be);

/* Normally distributed host numbers, the same everywhere. Free with free(). */
float *device_test_normals(int64_t count, float spread);

#endif
