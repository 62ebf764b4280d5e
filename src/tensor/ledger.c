#include <stdio.h>
#include <stdlib.h>

#include "qgalore/base.h"
#include "qgalore/memory.h"

typedef struct allocation {
  struct allocation *next;
  void *memory;
  size_t bytes;
  bool host;
} allocation;

struct qg_mem {
  qg_backend *be; /* NULL: dry */
  allocation *allocations;
  size_t bytes[QG_OWNER_COUNT];
  int64_t calls;
};

const char *qg_owner_name(qg_owner owner)
{
  static const char *const names[QG_OWNER_COUNT] = {
      [QG_OWNER_WEIGHTS] = "weights",         [QG_OWNER_PROJECTORS] = "projectors",
      [QG_OWNER_MOMENTS] = "moments",         [QG_OWNER_GRADIENTS] = "gradients",
      [QG_OWNER_ACTIVATIONS] = "activations", [QG_OWNER_WORKSPACE] = "workspace",
      [QG_OWNER_TRANSFER] = "transfer",       [QG_OWNER_DATA] = "data",
      [QG_OWNER_CHECKPOINT] = "checkpoint",   [QG_OWNER_RUNTIME] = "runtime",
  };
  return names[owner];
}

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
  free(mem);
}

bool qg_mem_is_dry(const qg_mem *mem)
{
  return !mem->be;
}

/* The owner with the most bytes among those not yet `seen`. */
static qg_owner largest_owner(const qg_mem *mem, bool seen[QG_OWNER_COUNT])
{
  int best = -1;
  for (int i = 0; i < QG_OWNER_COUNT; i++)
    if (!seen[i] && (best < 0 || mem->bytes[i] > mem->bytes[best])) best = i;
  seen[best] = true;
  return (qg_owner)best;
}

/* "weights 1.20 GiB, moments 600 MiB, ..." */
static const char *describe_largest(const qg_mem *mem, char *buffer, size_t size)
{
  bool seen[QG_OWNER_COUNT] = {false};
  size_t used = 0;
  buffer[0] = '\0';
  for (int i = 0; i < 3 && used < size; i++) {
    qg_owner owner = largest_owner(mem, seen);
    char text[32];
    if (mem->bytes[owner] == 0) break;
    used += (size_t)snprintf(buffer + used, size - used, "%s%s %s", i ? ", " : "", qg_owner_name(owner),
                             qg_format_bytes(text, sizeof text, (double)mem->bytes[owner]));
  }
  return used ? buffer : "nothing";
}

static qg_status fail_allocation(const qg_mem *mem, qg_owner owner, const char *what, size_t bytes)
{
  char reason[512], text[32], largest[160];
  snprintf(reason, sizeof reason, "%s", qg_error_message());
  return QG_FAIL(
      QG_ERR_RESOURCE,
      "no memory for %s (%s): %zu bytes (%s) were refused (%s); held so far: %s. Use more ranks, a "
      "smaller micro-batch or a lower rank of the projection.",
      what, qg_owner_name(owner), bytes, qg_format_bytes(text, sizeof text, (double)bytes), reason,
      describe_largest(mem, largest, sizeof largest));
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

static qg_status allocate(qg_mem *mem, qg_owner owner, const char *what, size_t bytes, bool host, void **out)
{
  *out = NULL;
  mem->calls++;
  if (bytes == 0) return QG_OK;
  if (mem->be && take(mem, host, bytes, out) != QG_OK) return fail_allocation(mem, owner, what, bytes);
  mem->bytes[owner] += bytes;
  return QG_OK;
}

qg_status qg_mem_alloc(qg_mem *mem, qg_owner owner, const char *what, size_t bytes, void **out)
{
  return allocate(mem, owner, what, bytes, false, out);
}

qg_status qg_mem_alloc_host(qg_mem *mem, qg_owner owner, const char *what, size_t bytes, void **out)
{
  return allocate(mem, owner, what, bytes, true, out);
}

void qg_mem_note(qg_mem *mem, qg_owner owner, size_t bytes)
{
  mem->bytes[owner] += bytes;
}

size_t qg_mem_bytes(const qg_mem *mem, qg_owner owner)
{
  return mem->bytes[owner];
}

size_t qg_mem_total(const qg_mem *mem)
{
  size_t total = 0;
  for (int i = 0; i < QG_OWNER_COUNT; i++) total += mem->bytes[i];
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
