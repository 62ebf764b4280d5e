/* Arrays of the conformance suite: device memory with a host copy in double, guarded where a stride leaves
 * room. */
#ifndef QG_TESTS_CONFORMANCE_ARRAYS_H
#define QG_TESTS_CONFORMANCE_ARRAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qgalore/backend.h"

enum { QG_CONFORMANCE_BLOCKS = 64 };

/* State of one test: what it took from the device, given back by conformance_end. */
typedef struct {
  qg_backend *be;
  void *workspace; /* the backend's, for a test that gives it another one meanwhile */
  size_t workspace_bytes;
  void *device[QG_CONFORMANCE_BLOCKS], *host[QG_CONFORMANCE_BLOCKS];
  size_t device_bytes[QG_CONFORMANCE_BLOCKS];
  int devices, hosts;
} conformance;

/* A matrix on the device. `value` [rows * cols] holds, dense, the numbers that were stored (after rounding to
 * the type). Elements between cols and stride are NaN: an operation that reads or writes them is found out.
 */
typedef struct {
  qg_view view;
  double *value;
} array;

/* Starts and ends the use of device memory by one test. */
void conformance_end(conformance *c);

/* Zeroed host memory and device memory that conformance_end frees. */
void *host_bytes(conformance *c, size_t bytes);
void *device_bytes(conformance *c, size_t bytes);
/* Device copy of host memory. */
void *device_copy(conformance *c, const void *host, size_t bytes);

/* Uniform values in (-spread, spread), different for every `seed`; dense when padding is 0. */
array random_array(conformance *c, qg_dtype type, int64_t rows, int64_t cols, int64_t padding, uint64_t seed,
                   double spread);
/* All elements `value`. */
array constant_array(conformance *c, qg_dtype type, int64_t rows, int64_t cols, int64_t padding,
                     double value);
/* Stores a.value, rounded to the type. */
void upload(conformance *c, array a);
/* The device's present values, dense [rows * cols]; fails the test if the padding was written. */
double *download(conformance *c, qg_view view);
/* `value` as the type stores it. */
double rounded(qg_dtype type, double value);

/* Fails the test unless every element of the view is within tolerance * max(1, |want|) of `want` (dense).
 * `what` names it. */
void expect_close(conformance *c, const char *what, qg_view got, const double *want, double tolerance);
/* Tolerance of one result of the type: fp32 sums, or one rounding to bf16. */
double tolerance_of(qg_dtype type);

/* Fails the test with the backend's message unless the operation succeeded. */
void expect_ok(qg_status status);

#endif
