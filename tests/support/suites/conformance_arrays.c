#include "support/suites/conformance_arrays.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/numerics/bf16.h"
#include "qgalore/numerics/philox.h"
#include "support/fixtures/tolerances.h"

void conformance_end(conformance *c)
{
  for (int i = 0; i < c->devices; i++) c->be->ops->release(c->be, c->device[i], c->device_bytes[i]);
  for (int i = 0; i < c->hosts; i++) free(c->host[i]);
  c->devices = c->hosts = 0;
}

void expect_ok(qg_status status)
{
  if (status != QG_OK) fail_msg("the operation failed: %s", qg_error_message());
}

void *host_bytes(conformance *c, size_t bytes)
{
  assert_true(c->hosts < QG_CONFORMANCE_BLOCKS);
  void *memory = calloc(1, bytes ? bytes : 1);
  assert_non_null(memory);
  c->host[c->hosts++] = memory;
  return memory;
}

void *device_bytes(conformance *c, size_t bytes)
{
  assert_true(c->devices < QG_CONFORMANCE_BLOCKS);
  void *memory = NULL;
  expect_ok(c->be->ops->alloc(c->be, bytes, &memory));
  c->device[c->devices] = memory;
  c->device_bytes[c->devices++] = bytes;
  return memory;
}

void *device_copy(conformance *c, const void *host, size_t bytes)
{
  void *memory = device_bytes(c, bytes);
  expect_ok(c->be->ops->copy_in(c->be, memory, host, bytes));
  expect_ok(c->be->ops->sync(c->be));
  return memory;
}

double rounded(qg_dtype type, double value)
{
  float narrow = (float)value;
  return type == QG_BF16 ? (double)qg_bf16_round(narrow) : (double)narrow;
}

double tolerance_of(qg_dtype type)
{
  return type == QG_BF16 ? QG_TOL_BF16_ROUND : QG_TOL_F32_SUM;
}

static void put(void *memory, qg_dtype type, int64_t i, double value)
{
  float narrow = (float)value;
  if (type == QG_BF16) ((uint16_t *)memory)[i] = qg_bf16_from_float(narrow);
  else
    ((float *)memory)[i] = narrow;
}

static double get(const void *memory, qg_dtype type, int64_t i)
{
  if (type == QG_BF16) return (double)qg_bf16_to_float(((const uint16_t *)memory)[i]);
  return (double)((const float *)memory)[i];
}

void upload(conformance *c, array a)
{
  qg_view v = a.view;
  size_t bytes = qg_dtype_bytes(v.type, v.rows * v.stride);
  void *image = calloc(1, bytes ? bytes : 1);
  assert_non_null(image);
  for (int64_t i = 0; i < v.rows; i++)
    for (int64_t j = 0; j < v.stride; j++)
      put(image, v.type, i * v.stride + j, j < v.cols ? a.value[i * v.cols + j] : (double)NAN);
  qg_status status = c->be->ops->copy_in(c->be, v.data, image, bytes);
  if (status == QG_OK) status = c->be->ops->sync(c->be);
  free(image);
  expect_ok(status);
}

static array make_array(conformance *c, qg_dtype type, int64_t rows, int64_t cols, int64_t padding)
{
  array a = {.view = {NULL, type, rows, cols, cols + padding}};
  a.view.data = device_bytes(c, qg_dtype_bytes(type, rows * a.view.stride));
  a.value = host_bytes(c, (size_t)(rows * cols) * sizeof(double));
  return a;
}

array random_array(conformance *c, qg_dtype type, int64_t rows, int64_t cols, int64_t padding, uint64_t seed,
                   double spread)
{
  array a = make_array(c, type, rows, cols, padding);
  qg_rng rng = {.seed = seed, .purpose = QG_RNG_SYNTHETIC};
  for (int64_t i = 0; i < rows * cols; i++)
    a.value[i] = rounded(type, spread * (2.0 * (double)qg_rng_unit_at(rng, (uint64_t)i) - 1.0));
  upload(c, a);
  return a;
}

array constant_array(conformance *c, qg_dtype type, int64_t rows, int64_t cols, int64_t padding, double value)
{
  array a = make_array(c, type, rows, cols, padding);
  for (int64_t i = 0; i < rows * cols; i++) a.value[i] = rounded(type, value);
  upload(c, a);
  return a;
}

static bool padding_is_nan(const void *image, qg_view v)
{
  for (int64_t i = 0; i < v.rows; i++)
    for (int64_t j = v.cols; j < v.stride; j++)
      if (!isnan(get(image, v.type, i * v.stride + j))) return false;
  return true;
}

double *download(conformance *c, qg_view v)
{
  size_t bytes = qg_dtype_bytes(v.type, v.rows * v.stride);
  double *values = host_bytes(c, (size_t)(v.rows * v.cols) * sizeof *values);
  void *image = calloc(1, bytes ? bytes : 1);
  assert_non_null(image);
  qg_status status = c->be->ops->copy_out(c->be, image, v.data, bytes);
  for (int64_t i = 0; i < v.rows; i++)
    for (int64_t j = 0; j < v.cols; j++) values[i * v.cols + j] = get(image, v.type, i * v.stride + j);
  bool guarded = padding_is_nan(image, v);
  free(image);
  expect_ok(status);
  if (!guarded)
    fail_msg("an operation wrote between the rows of a [%lld, %lld] view", (long long)v.rows,
             (long long)v.cols);
  return values;
}

void expect_close(conformance *c, const char *what, qg_view view, const double *want, double tolerance)
{
  double *got = download(c, view);
  for (int64_t i = 0; i < view.rows * view.cols; i++)
    if (!QG_CLOSE(got[i], want[i], tolerance))
      fail_msg("%s [%lld, %lld]: element (%lld, %lld) is %.9g, expected %.9g", what, (long long)view.rows,
               (long long)view.cols, (long long)(i / view.cols), (long long)(i % view.cols), got[i], want[i]);
}
