#include "ckpt/h5_check.h"

#include <stdio.h>
#include <string.h>

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

qg_status qg_h5_failure(const char *path, const char *call, const char *file, int line, const char *func)
{
  char text[256];
  /* The call may stand in an assignment, `id = H5Xyz(...)`. */
  const char *name = strstr(call, "H5");
  if (!name) name = call;
  return qg_error_raise(QG_ERR_CHECKPOINT, file, line, func, "%s: %.*s failed: %s", path,
                        (int)strcspn(name, "("), name, qg_h5_reason(text, sizeof text));
}

void qg_h5_release(hid_t id)
{
  if (id >= 0) H5Idec_ref(id);
}
