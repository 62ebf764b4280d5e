#include <limits.h>
#include <stdlib.h>

#include "qgalore/base.h"

qg_status qg_narrow_int(int64_t value, const char *what, int *out)
{
  QG_CHECK(value >= INT_MIN && value <= INT_MAX, QG_ERR_RUNTIME,
           "%s is %lld, which does not fit the 32-bit integers of MPI and BLAS", what, (long long)value);
  *out = (int)value;
  return QG_OK;
}

qg_status qg_mul_size(size_t a, size_t b, size_t *out)
{
  QG_CHECK(!__builtin_mul_overflow(a, b, out), QG_ERR_RESOURCE,
           "%zu times %zu bytes is more than this machine can address", a, b);
  return QG_OK;
}

qg_status qg_calloc(size_t count, size_t bytes, const char *what, void **out)
{
  size_t total;
  char text[32];
  *out = NULL;
  QG_TRY(qg_mul_size(count, bytes, &total));
  /* calloc(0) may give NULL, which is no failure. */
  *out = calloc(count ? count : 1, bytes ? bytes : 1);
  QG_CHECK(*out, QG_ERR_RESOURCE, "no host memory for %s: %zu bytes (%s) were refused", what, total,
           qg_format_bytes(text, sizeof text, (double)total));
  return QG_OK;
}
