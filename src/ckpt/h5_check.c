#include "ckpt/h5_check.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"

typedef struct {
  char *buffer;
  size_t size;
} reason;

void qg_h5_quiet(void)
{
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* The stack is walked from the place of the failure outwards. */
static herr_t take_innermost(unsigned n, const H5E_error2_t *error, void *context)
{
  reason *r = context;
  if (n == 0 && error->desc) snprintf(r->buffer, r->size, "%s", error->desc);
  for (char *end = strchr(r->buffer, '\n'); end; end = strchr(end, '\n')) *end = ' '; /* it quotes ctime */
  return 0;
}

const char *qg_h5_reason(char *buffer, size_t size)
{
  reason r = {buffer, size};
  snprintf(buffer, size, "no reason given");
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, &r);
  return buffer;
}

/* HDF5 tells errno in its words alone. */
static bool names_a_full_disk(const char *words)
{
  const int full[] = {ENOSPC, EDQUOT, EFBIG};
  const char *told = strstr(words, "errno = ");
  for (int i = 0; told && i < QG_COUNT_OF(full); i++)
    if (atoi(told + strlen("errno = ")) == full[i]) return true;
  return false;
}

qg_status qg_h5_failure(const char *path, const char *call, const char *file, int line, const char *func)
{
  char text[256];
  /* The call may stand in an assignment, `id = H5Xyz(...)`. */
  const char *name = strstr(call, "H5");
  if (!name) name = call;
  qg_h5_reason(text, sizeof text);
  if (names_a_full_disk(text))
    return qg_error_raise(QG_ERR_RESOURCE, file, line, func, "no room for %s: %s", path, strerror(ENOSPC));
  return qg_error_raise(QG_ERR_CHECKPOINT, file, line, func, "%s: %.*s failed: %s", path,
                        (int)strcspn(name, "("), name, text);
}

void qg_h5_release(hid_t id)
{
  if (id >= 0) H5Idec_ref(id);
}
