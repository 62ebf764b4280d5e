#include "train/transport.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"
#include "qgalore/base/fault.h"
#include "train/channel.h"

/* Of a test message: MPI libraries send short and long ones in different ways. */
static const size_t lengths[] = {1 << 10, 4 << 20};

/* A message that takes longer is lost: a library that chokes on a device pointer on one side leaves the other
 * waiting. */
static const double PATIENCE_SECONDS = 60.0;

/* One direction between this stage and a peer. */
typedef struct {
  int peer;
  bool receives;
  size_t bytes;
  unsigned char *host; /* the pattern that is sent, or what arrived */
  void *device;
  qg_transfer *transfer;
} strand;

enum { STRANDS = 4 };

/* No two stages, places or 256-byte pages send the same. */
static unsigned char pattern(int from, int to, size_t i)
{
  return (unsigned char)(i * 31 + i / 256 * 7 + (size_t)from * 113 + (size_t)to * 59);
}

static void fill(strand *s, int me)
{
  for (size_t i = 0; i < s->bytes; i++) s->host[i] = s->receives ? 0 : pattern(me, s->peer, i);
  if (!s->receives && qg_fault_is_injected("transport.pattern")) s->host[s->bytes / 2] ^= 1;
}

static qg_status open_strand(qg_par *par, qg_backend *be, strand *s)
{
  QG_TRY(qg_calloc(s->bytes, 1, "a test message", (void **)&s->host));
  fill(s, qg_par_grid(par)->stage);
  QG_TRY(be->ops->alloc(be, s->bytes, &s->device));
  QG_TRY(be->ops->copy_in(be, s->device, s->host, s->bytes));
  QG_TRY(be->ops->sync(be));
  return qg_transfer_create(par, s->bytes, &s->transfer);
}

/* A lost message may still find its memory. */
static void close_strand(qg_backend *be, strand *s)
{
  bool lost = s->transfer && qg_transfer_is_active(s->transfer);
  qg_transfer_free(s->transfer);
  if (s->device && !lost) be->ops->release(be, s->device, s->bytes);
  free(s->host);
}

static qg_status start(strand *s)
{
  if (s->receives) return qg_transfer_receive(s->transfer, s->device, s->bytes, s->peer, QG_TAG_TRANSPORT);
  return qg_transfer_send(s->transfer, s->device, s->bytes, s->peer, QG_TAG_TRANSPORT);
}

static qg_status await(strand *s, double until)
{
  for (bool done = false; !done; sched_yield()) {
    QG_TRY(qg_transfer_test(s->transfer, &done));
    QG_CHECK(done || qg_now() < until, QG_ERR_RESOURCE,
             "a test message of %zu bytes by device pointer %s rank %d does not arrive", s->bytes,
             s->receives ? "from" : "to", s->peer);
  }
  return QG_OK;
}

static qg_status compare(qg_backend *be, const strand *s, int me)
{
  if (!s->receives) return QG_OK;
  QG_TRY(be->ops->copy_out(be, s->host, s->device, s->bytes));
  for (size_t i = 0; i < s->bytes; i++)
    QG_CHECK(s->host[i] == pattern(s->peer, me, i), QG_ERR_RESOURCE,
             "a test message of %zu bytes by device pointer from rank %d arrived with byte %zu wrong",
             s->bytes, s->peer, i);
  return QG_OK;
}

static qg_status exchange(qg_par *par, qg_backend *be, strand *strands, int count)
{
  double until = qg_now() + PATIENCE_SECONDS;
  for (int i = 0; i < count; i++) QG_TRY(open_strand(par, be, &strands[i]));
  for (int i = 0; i < count; i++) QG_TRY(start(&strands[i]));
  for (int i = 0; i < count; i++) QG_TRY(await(&strands[i], until));
  for (int i = 0; i < count; i++) QG_TRY(compare(be, &strands[i], qg_par_grid(par)->stage));
  return QG_OK;
}

/* Neighbours, and both ends, which exchange the gradients of a tied embedding. */
static bool is_peer(const qg_grid *grid, int stage)
{
  int distance = abs(stage - grid->stage);
  return distance == 1 || (distance > 0 && distance == grid->stages - 1);
}

/* Receives come first: nothing then depends on what MPI does with a message that nobody expects. */
static int list_strands(const qg_grid *grid, size_t bytes, strand strands[STRANDS])
{
  int count = 0;
  for (int sends = 0; sends < 2; sends++)
    for (int peer = 0; peer < grid->stages; peer++)
      if (is_peer(grid, peer)) strands[count++] = (strand){.peer = peer, .receives = !sends, .bytes = bytes};
  return count;
}

/* Both ways between all peers at once. */
static qg_status ping_pong(qg_par *par, qg_backend *be, size_t bytes)
{
  strand strands[STRANDS];
  int count = list_strands(qg_par_grid(par), bytes, strands);
  qg_status status = exchange(par, be, strands, count);
  for (int i = 0; i < count; i++) close_strand(be, &strands[i]);
  return status;
}

static qg_status ask_library(const qg_par *par, bool insist)
{
  qg_device_pointers answer = qg_par_device_pointers(par);
  QG_CHECK(answer != QG_DEVICE_POINTERS_REFUSED, QG_ERR_RESOURCE,
           "this MPI library was built without support for device pointers");
  QG_CHECK(answer == QG_DEVICE_POINTERS_TAKEN || insist, QG_ERR_RESOURCE,
           "this MPI library does not tell whether it takes device pointers (parallel.transport = device "
           "tries it)");
  return QG_OK;
}

/* A library that says no may crash when it gets a device pointer, so nothing is tried against its word. */
static qg_status try_device_pointers(qg_par *par, qg_backend *be, bool insist)
{
  QG_TRY(ask_library(par, insist)); /* every rank gets the same answer */
  for (int i = 0; i < QG_COUNT_OF(lengths); i++) QG_TRY(qg_par_agree(par, ping_pong(par, be, lengths[i])));
  return QG_OK;
}

static qg_status is_any_device(qg_par *par, const qg_backend *be, bool *any)
{
  double devices = be->ops->unified_memory ? 0.0 : 1.0;
  QG_TRY(qg_par_max(par, &devices, 1));
  *any = devices > 0.0 && qg_par_grid(par)->stages > 1;
  return QG_OK;
}

qg_status qg_transport_choose(const qg_config *config, qg_par *par, qg_backend *be, qg_transport *out)
{
  qg_transport_choice choice = config->parallel.transport;
  bool any = false;
  *out = (qg_transport){.device_pointers = false};
  QG_TRY(is_any_device(par, be, &any));
  if (!any) return QG_OK;
  snprintf(out->line, sizeof out->line, "pinned host memory (parallel.transport = host)");
  if (choice == QG_TRANSPORT_HOST) return QG_OK;
  qg_status status = try_device_pointers(par, be, choice == QG_TRANSPORT_DEVICE);
  out->device_pointers = status == QG_OK;
  snprintf(out->line, sizeof out->line, "device pointers (test messages of 1 KiB and 4 MiB arrived whole)");
  if (status == QG_OK) return QG_OK;
  char reason[192];
  snprintf(reason, sizeof reason, "%s", qg_error_message());
  if (choice == QG_TRANSPORT_DEVICE)
    return QG_FAIL(QG_ERR_RESOURCE, "parallel.transport = device, but %s; use auto or host", reason);
  qg_error_clear();
  snprintf(out->line, sizeof out->line, "pinned host memory: %s", reason);
  return QG_OK;
}
