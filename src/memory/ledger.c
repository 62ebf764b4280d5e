#include <stdlib.h>

#include "memory/memory_error.h"
#include "qgalore/base.h"
#include "qgalore/memory.h"

/* Of the pieces that a reservation is cut into; what CUDA's own allocations have. */
enum { PIECE = 256 };

typedef struct allocation {
  struct allocation *next;
  void *memory;
  size_t bytes;
  bool host;
} allocation;

struct qg_mem {
  qg_backend *be; /* NULL: dry */
  allocation *allocations;
  size_t bytes[QG_SPACE_COUNT][QG_OWNER_COUNT];
  size_t pieces;        /* bytes that a reservation for everything so far would have */
  char *reserved;       /* NULL: every allocation is the backend's */
  size_t rest;          /* bytes of `reserved` that are not given out */
  allocation *returned; /* pieces of `reserved` that were given back */
  int64_t calls;
};

qg_status qg_mem_create(qg_backend *be, qg_mem **out)
{
  void *memory;
  QG_TRY(qg_calloc(1, sizeof(qg_mem), "the memory ledger", &memory));
  *out = memory;
  (*out)->be = be;
  return QG_OK;
}

static void release(qg_backend *be, const allocation *a)
{
  if (a->host) be->ops->release_host(be, a->memory, a->bytes);
  else
    be->ops->release(be, a->memory, a->bytes);
}

void qg_mem_destroy(qg_mem *mem)
{
  if (!mem) return;
  for (allocation *a = mem->allocations, *next; a; a = next) {
    next = a->next;
    release(mem->be, a);
    free(a);
  }
  for (allocation *a = mem->returned, *next; a; a = next) {
    next = a->next;
    free(a);
  }
  free(mem);
}

bool qg_mem_is_dry(const qg_mem *mem)
{
  return !mem->be;
}

/* Takes memory from the backend and remembers it. */
static qg_status take(qg_mem *mem, bool host, size_t bytes, void **out)
{
  const qg_backend_ops *ops = mem->be->ops;
  void *node;
  QG_TRY(qg_calloc(1, sizeof(allocation), "a line of the memory ledger", &node));
  qg_status status = (host ? ops->alloc_host : ops->alloc)(mem->be, bytes, out);
  if (status != QG_OK) {
    free(node);
    *out = NULL;
    return qg_error_frame(status, __FILE__, __LINE__, __func__);
  }
  allocation line = {mem->allocations, *out, bytes, host};
  *(allocation *)node = line;
  mem->allocations = node;
  return QG_OK;
}

static size_t whole_pieces(size_t bytes)
{
  return (bytes + PIECE - 1) / PIECE * PIECE;
}

qg_status qg_mem_reserve(qg_mem *mem, const qg_mem *plan)
{
  void *memory;
  if (plan->pieces == 0) return QG_OK;
  if (!qg_memory_fits(mem->be, plan->pieces) || take(mem, false, plan->pieces, &memory) != QG_OK)
    return qg_memory_fail_reservation(mem->be, plan->bytes[QG_SPACE_DEVICE], plan->pieces);
  mem->reserved = memory;
  mem->rest = plan->pieces;
  return QG_OK;
}

/* Takes a line out of a list: the first with this memory, or, where that is NULL, of these bytes. */
static allocation *unlink_line(allocation **list, const void *memory, size_t bytes)
{
  for (allocation **at = list; *at; at = &(*at)->next) {
    allocation *found = *at;
    if (memory ? found->memory != memory : found->bytes != bytes) continue;
    *at = found->next;
    return found;
  }
  return NULL;
}

/* A piece that cannot be cleared stays where it was. */
static qg_status reuse(qg_mem *mem, allocation *returned, void **out)
{
  qg_status status = mem->be->ops->zero(mem->be, returned->memory, returned->bytes);
  if (status != QG_OK) {
    returned->next = mem->returned;
    mem->returned = returned;
    return qg_error_frame(status, __FILE__, __LINE__, __func__);
  }
  *out = returned->memory;
  free(returned);
  return QG_OK;
}

/* A piece that was never handed out is zero as the whole is. */
static qg_status cut(qg_mem *mem, const char *what, size_t bytes, void **out)
{
  size_t piece = whole_pieces(bytes);
  allocation *returned = unlink_line(&mem->returned, NULL, piece);
  if (returned) return reuse(mem, returned, out);
  QG_CHECK(piece <= mem->rest, QG_ERR_RUNTIME, "%s: %zu bytes are not in the plan that memory was taken for",
           what, bytes);
  *out = mem->reserved;
  mem->reserved += piece;
  mem->rest -= piece;
  return QG_OK;
}

static qg_status fail_request(const qg_mem *mem, qg_owner owner, const char *what, size_t bytes)
{
  size_t held[QG_OWNER_COUNT];
  for (int i = 0; i < QG_OWNER_COUNT; i++) held[i] = qg_mem_bytes(mem, (qg_owner)i);
  return qg_memory_fail_request(owner, what, bytes, held);
}

static qg_status allocate(qg_mem *mem, qg_owner owner, const char *what, size_t bytes, qg_space space,
                          void **out)
{
  *out = NULL;
  mem->calls++;
  if (bytes == 0) return QG_OK;
  bool host = space == QG_SPACE_HOST;
  if (mem->reserved && !host) QG_TRY(cut(mem, what, bytes, out));
  else if (mem->be && take(mem, host, bytes, out) != QG_OK)
    return fail_request(mem, owner, what, bytes);
  mem->bytes[space][owner] += bytes;
  if (!host) mem->pieces += whole_pieces(bytes);
  return QG_OK;
}

qg_status qg_mem_alloc(qg_mem *mem, qg_owner owner, const char *what, size_t bytes, void **out)
{
  return allocate(mem, owner, what, bytes, QG_SPACE_DEVICE, out);
}

/* The line of a piece of the reservation that waits for a request of its size; without host memory for it the
 * piece is lost until the ledger is destroyed. */
static void keep_returned(qg_mem *mem, void *memory, size_t piece)
{
  allocation *line = calloc(1, sizeof *line);
  if (!line) return;
  *line = (allocation){mem->returned, memory, piece, false};
  mem->returned = line;
}

void qg_mem_free(qg_mem *mem, qg_owner owner, size_t bytes, void *memory)
{
  if (bytes == 0 || (mem->be && !memory)) return;
  mem->bytes[QG_SPACE_DEVICE][owner] -= bytes;
  mem->pieces -= whole_pieces(bytes);
  if (!mem->be) return;
  if (mem->reserved) {
    keep_returned(mem, memory, whole_pieces(bytes));
    return;
  }
  allocation *line = unlink_line(&mem->allocations, memory, 0);
  if (!line) return;
  release(mem->be, line);
  free(line);
}

qg_status qg_mem_alloc_host(qg_mem *mem, qg_owner owner, const char *what, size_t bytes, void **out)
{
  return allocate(mem, owner, what, bytes, QG_SPACE_HOST, out);
}

void qg_mem_note(qg_mem *mem, qg_owner owner, size_t bytes)
{
  mem->bytes[QG_SPACE_HOST][owner] += bytes;
}

void qg_mem_note_device(qg_mem *mem, const qg_device_share *share)
{
  mem->bytes[QG_SPACE_DEVICE][QG_OWNER_CONTEXT] += share->held + share->allowance;
}

size_t qg_mem_bytes(const qg_mem *mem, qg_owner owner)
{
  return mem->bytes[QG_SPACE_DEVICE][owner] + mem->bytes[QG_SPACE_HOST][owner];
}

size_t qg_mem_bytes_in(const qg_mem *mem, qg_space space, qg_owner owner)
{
  return mem->bytes[space][owner];
}

size_t qg_mem_space(const qg_mem *mem, qg_space space)
{
  size_t total = 0;
  if (space == QG_SPACE_DEVICE) return mem->pieces + mem->bytes[QG_SPACE_DEVICE][QG_OWNER_CONTEXT];
  for (int i = 0; i < QG_OWNER_COUNT; i++) total += mem->bytes[QG_SPACE_HOST][i];
  return total;
}

size_t qg_mem_total(const qg_mem *mem)
{
  size_t total = 0;
  for (int i = 0; i < QG_OWNER_COUNT; i++) total += qg_mem_bytes(mem, (qg_owner)i);
  return total;
}

int64_t qg_mem_allocations(const qg_mem *mem)
{
  return mem->calls;
}

qg_status qg_mem_view(qg_mem *mem, qg_owner owner, const char *what, qg_dtype type, int64_t rows,
                      int64_t cols, qg_view *out)
{
  int64_t elements, bits;
  /* 64 bits is the widest element: then the bytes fit as well. */
  bool fits = rows >= 0 && cols >= 0 && !__builtin_mul_overflow(rows, cols, &elements) &&
              !__builtin_mul_overflow(elements, 64, &bits);
  QG_CHECK(fits, QG_ERR_RESOURCE, "%s cannot be %lld x %lld", what, (long long)rows, (long long)cols);
  void *data;
  QG_TRY(qg_mem_alloc(mem, owner, what, qg_dtype_bytes(type, elements), &data));
  *out = qg_view_make(data, type, rows, cols);
  return QG_OK;
}

qg_status qg_backend_reserve(qg_mem *mem, qg_backend *be, const qg_workload *workload)
{
  size_t bytes = be->ops->workspace_bytes(be, workload);
  void *memory;
  QG_TRY(qg_mem_alloc(mem, QG_OWNER_WORKSPACE, "the backend's workspace", bytes, &memory));
  if (!qg_mem_is_dry(mem)) be->ops->set_workspace(be, memory, bytes);
  return QG_OK;
}
