#include "train/tied.h"

#include "qgalore/base.h"
#include "train/channel.h"

enum { TIED_CHUNK_BYTES = 16 << 20 };

/* 0: this stage holds no tied parameter, or holds it alone. */
static size_t gradient_bytes(const qg_tied_request *request)
{
  const qg_param_list *list = request->params;
  for (int i = 0; request->stages > 1 && i < list->count; i++)
    if (list->params[i].tied && list->params[i].held)
      return qg_dtype_bytes(QG_F32, qg_param_elements(&list->params[i]));
  return 0;
}

qg_status qg_tied_create(const qg_tied_request *request, qg_tied *tied)
{
  bool first = request->index == 0;
  *tied = (qg_tied){.be = request->be,
                    .peer = first ? request->stages - 1 : 0,
                    .first = first,
                    .direct = request->device_pointers || request->be->ops->unified_memory,
                    .bytes = gradient_bytes(request)};
  tied->chunk = qg_min_size(tied->bytes, TIED_CHUNK_BYTES);
  if (tied->bytes == 0) return QG_OK;
  if (!tied->direct)
    QG_TRY(
        qg_mem_alloc_host(request->mem, QG_OWNER_TRANSFER, "tied gradient", 2 * tied->chunk, &tied->buffer));
  if (!request->par) return QG_OK;
  QG_TRY(qg_transfer_create(request->par, tied->chunk, &tied->sending));
  return qg_transfer_create(request->par, tied->chunk, &tied->receiving);
}

void qg_tied_destroy(qg_tied *tied)
{
  qg_transfer_free(tied->sending);
  qg_transfer_free(tied->receiving);
}

static qg_status swap_directly(const qg_tied *t, const char *mine, char *theirs, size_t bytes)
{
  QG_TRY(qg_transfer_receive(t->receiving, theirs, bytes, t->peer, QG_TAG_TIED));
  QG_TRY(qg_transfer_send(t->sending, mine, bytes, t->peer, QG_TAG_TIED));
  QG_TRY(qg_transfer_wait(t->receiving));
  return qg_transfer_wait(t->sending);
}

static qg_status swap_through_host(const qg_tied *t, const char *mine, char *theirs, size_t bytes)
{
  char *out = t->buffer, *in = out + t->chunk;
  QG_TRY(t->be->ops->copy_out(t->be, out, mine, bytes));
  QG_TRY(swap_directly(t, out, in, bytes));
  QG_TRY(t->be->ops->copy_in(t->be, theirs, in, bytes));
  return t->be->ops->sync(t->be);
}

static qg_status swap(const qg_tied *t, const char *mine, char *theirs)
{
  QG_TRY(t->be->ops->sync(t->be));
  for (size_t done = 0; done < t->bytes; done += t->chunk) {
    size_t bytes = qg_min_size(t->bytes - done, t->chunk);
    QG_TRY((t->direct ? swap_directly : swap_through_host)(t, mine + done, theirs + done, bytes));
  }
  return QG_OK;
}

qg_status qg_tied_exchange(const qg_tied *t, qg_optim *optim)
{
  qg_view embedding_part, head_part;
  if (t->bytes == 0) return QG_OK;
  QG_TRY(qg_optim_tied_gradients(optim, &embedding_part, &head_part));
  if (!embedding_part.data) return QG_OK; /* frozen, on both stages */
  return swap(t, t->first ? embedding_part.data : head_part.data,
              t->first ? head_part.data : embedding_part.data);
}
