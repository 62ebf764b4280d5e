/* A tied embedding lives on the first stage (as embedding) and on the last (as head). Both hold the weight
 * and its moments; each computes one part of the gradient. Both parts go to both stages, which then make the
 * same update. */
#include "qgalore/base.h"
#include "train/trainer.h"

enum { TIED_CHUNK_BYTES = 16 << 20 };

static size_t gradient_bytes(const qg_trainer *t)
{
  return qg_dtype_bytes(QG_F32, t->config->model.vocab_size * t->config->model.hidden_size);
}

/* Of one message; 0: this stage exchanges nothing. */
static size_t chunk_bytes(const qg_trainer *t)
{
  bool holds = qg_trainer_is_first(t) || qg_trainer_is_last(t);
  if (!t->config->model.tie_embeddings || t->stages == 1 || !holds) return 0;
  return gradient_bytes(t) < TIED_CHUNK_BYTES ? gradient_bytes(t) : TIED_CHUNK_BYTES;
}

/* MPI reads and writes the gradients themselves; else chunks pass through host memory. */
static bool is_direct(const qg_trainer *t)
{
  return t->device_pointers || t->be->ops->unified_memory;
}

qg_status qg_tied_create(qg_trainer *t)
{
  size_t chunk = chunk_bytes(t);
  if (chunk == 0) return QG_OK;
  if (!is_direct(t))
    QG_TRY(qg_mem_alloc_host(t->mem, QG_OWNER_TRANSFER, "tied gradient", 2 * chunk, &t->tied_buffer));
  if (!t->par) return QG_OK;
  QG_TRY(qg_transfer_create(t->par, chunk, &t->tied_sending));
  return qg_transfer_create(t->par, chunk, &t->tied_receiving);
}

void qg_tied_destroy(qg_trainer *t)
{
  qg_transfer_free(t->tied_sending);
  qg_transfer_free(t->tied_receiving);
}

static qg_status swap_directly(const qg_trainer *t, int peer, const char *mine, char *theirs, size_t bytes)
{
  QG_TRY(qg_transfer_receive(t->tied_receiving, theirs, bytes, peer, QG_TAG_TIED));
  QG_TRY(qg_transfer_send(t->tied_sending, mine, bytes, peer, QG_TAG_TIED));
  QG_TRY(qg_transfer_wait(t->tied_receiving));
  return qg_transfer_wait(t->tied_sending);
}

static qg_status swap_through_host(const qg_trainer *t, int peer, const char *mine, char *theirs,
                                   size_t bytes)
{
  char *out = t->tied_buffer, *in = out + chunk_bytes(t);
  QG_TRY(t->be->ops->copy_out(t->be, out, mine, bytes));
  QG_TRY(swap_directly(t, peer, out, in, bytes));
  QG_TRY(t->be->ops->copy_in(t->be, theirs, in, bytes));
  return t->be->ops->sync(t->be);
}

static qg_status swap(const qg_trainer *t, int peer, const char *mine, char *theirs)
{
  size_t chunk = chunk_bytes(t), total = gradient_bytes(t);
  QG_TRY(t->be->ops->sync(t->be));
  for (size_t done = 0; done < total; done += chunk) {
    size_t bytes = total - done < chunk ? total - done : chunk;
    QG_TRY((is_direct(t) ? swap_directly : swap_through_host)(t, peer, mine + done, theirs + done, bytes));
  }
  return QG_OK;
}

qg_status qg_tied_exchange(qg_trainer *t)
{
  if (chunk_bytes(t) == 0) return QG_OK;
  qg_view embedding_part, head_part;
  QG_TRY(qg_optim_tied_gradients(t->optim, &embedding_part, &head_part));
  bool first = qg_trainer_is_first(t);
  return swap(t, first ? t->stages - 1 : 0, first ? embedding_part.data : head_part.data,
              first ? head_part.data : embedding_part.data);
}
