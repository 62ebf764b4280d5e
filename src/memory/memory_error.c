#include "memory/memory_error.h"

#include <stdio.h>
#include <string.h>

#include "qgalore/base.h"

#define ADVICE "Use more ranks, a smaller micro-batch or a lower rank of the projection."

enum { NAMED_OWNERS = 3 };

const char *qg_owner_name(qg_owner owner)
{
  static const char *const names[QG_OWNER_COUNT] = {
      [QG_OWNER_WEIGHTS] = "weights",         [QG_OWNER_PROJECTORS] = "projectors",
      [QG_OWNER_MOMENTS] = "moments",         [QG_OWNER_GRADIENTS] = "gradients",
      [QG_OWNER_ACTIVATIONS] = "activations", [QG_OWNER_WORKSPACE] = "workspace",
      [QG_OWNER_TRANSFER] = "transfer",       [QG_OWNER_DATA] = "data",
      [QG_OWNER_CHECKPOINT] = "checkpoint",   [QG_OWNER_RUNTIME] = "runtime",
      [QG_OWNER_CONTEXT] = "context",
  };
  return names[owner];
}

bool qg_memory_fits(qg_backend *be, size_t bytes)
{
  size_t free, total;
  if (!be->ops->memory_info || be->ops->memory_info(be, &free, &total) != QG_OK) return true;
  return bytes <= free && be->share.margin <= free - bytes;
}

/* The owner with the most bytes among those not yet `seen`. */
static int largest_owner(const size_t *bytes, bool *seen)
{
  int best = -1;
  for (int i = 0; i < QG_OWNER_COUNT; i++)
    if (!seen[i] && (best < 0 || bytes[i] > bytes[best])) best = i;
  seen[best] = true;
  return best;
}

/* "weights 1.20 GiB, moments 600 MiB, ..." */
static const char *describe_largest(const size_t *bytes, char *buffer, size_t size)
{
  bool seen[QG_OWNER_COUNT] = {false};
  size_t used = 0;
  buffer[0] = '\0';
  for (int i = 0; i < NAMED_OWNERS && used < size; i++) {
    int owner = largest_owner(bytes, seen);
    char text[32];
    if (bytes[owner] == 0) break;
    used +=
        (size_t)snprintf(buffer + used, size - used, "%s%s %s", i ? ", " : "", qg_owner_name((qg_owner)owner),
                         qg_format_bytes(text, sizeof text, (double)bytes[owner]));
  }
  return used ? buffer : "nothing";
}

/* "1.20 GiB of 15.8 GiB are free, and 128 MiB have to stay so", or what the backend said. */
static void describe_free(qg_backend *be, char *buffer, size_t size)
{
  size_t free = 0, total = 0;
  char a[32], b[32], c[32];
  if (!be->ops->memory_info || be->ops->memory_info(be, &free, &total) != QG_OK) {
    snprintf(buffer, size, "%s", qg_error_message());
    return;
  }
  snprintf(buffer, size, "%s of %s are free, and %s have to stay so",
           qg_format_bytes(a, sizeof a, (double)free), qg_format_bytes(b, sizeof b, (double)total),
           qg_format_bytes(c, sizeof c, (double)be->share.margin));
}

qg_status qg_memory_fail_reservation(qg_backend *be, const size_t *planned, size_t all)
{
  size_t bytes[QG_OWNER_COUNT];
  char text[32], largest[160], available[512];
  memcpy(bytes, planned, sizeof bytes);
  bytes[QG_OWNER_CONTEXT] = 0; /* that is taken already */
  describe_free(be, available, sizeof available);
  return QG_FAIL(QG_ERR_RESOURCE, "the plan of %s does not fit on %s: %s. Largest: %s. " ADVICE,
                 qg_format_bytes(text, sizeof text, (double)all), be->description, available,
                 describe_largest(bytes, largest, sizeof largest));
}

qg_status qg_memory_fail_request(qg_owner owner, const char *what, size_t bytes, const size_t *held)
{
  char reason[512], text[32], largest[160];
  snprintf(reason, sizeof reason, "%s", qg_error_message());
  return QG_FAIL(QG_ERR_RESOURCE,
                 "no memory for %s (%s): %zu bytes (%s) were refused (%s); held so far: %s. " ADVICE, what,
                 qg_owner_name(owner), bytes, qg_format_bytes(text, sizeof text, (double)bytes), reason,
                 describe_largest(held, largest, sizeof largest));
}
