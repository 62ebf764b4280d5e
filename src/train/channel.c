#include "train/channel.h"

#include "qgalore/base.h"

qg_status qg_channel_create(qg_mem *mem, qg_par *par, int peer, int tag, size_t bytes, int messages,
                            qg_channel *channel)
{
  *channel = (qg_channel){.peer = peer, .tag = tag, .bytes = bytes, .messages = messages};
  if (peer < 0) return QG_OK;
  for (int i = 0; i < QG_CHANNEL_DEPTH; i++) {
    QG_TRY(qg_mem_alloc_host(mem, QG_OWNER_TRANSFER, "pipeline buffer", bytes, &channel->buffer[i]));
    if (par) QG_TRY(qg_transfer_create(par, bytes, &channel->transfer[i]));
  }
  return QG_OK;
}

void qg_channel_destroy(qg_channel *channel)
{
  for (int i = 0; i < QG_CHANNEL_DEPTH; i++) {
    qg_transfer_free(channel->transfer[i]);
    channel->transfer[i] = NULL;
  }
}

static qg_status post_receive(qg_channel *channel)
{
  if (channel->posted == channel->messages) return QG_OK;
  int slot = channel->posted % QG_CHANNEL_DEPTH;
  channel->posted++;
  return qg_transfer_receive(channel->transfer[slot], channel->buffer[slot], channel->bytes, channel->peer,
                             channel->tag);
}

qg_status qg_channel_begin_receive(qg_channel *channel)
{
  if (channel->peer < 0) return QG_OK;
  channel->posted = 0;
  for (int i = 0; i < QG_CHANNEL_DEPTH; i++) QG_TRY(post_receive(channel));
  return QG_OK;
}

qg_status qg_channel_receive(qg_channel *channel, qg_backend *be, int index, void *device)
{
  int slot = index % QG_CHANNEL_DEPTH;
  QG_TRY(qg_transfer_wait(channel->transfer[slot]));
  QG_TRY(be->ops->copy_in(be, device, channel->buffer[slot], channel->bytes));
  /* The copy may still read the buffer that the next message lands in. */
  QG_TRY(be->ops->sync(be));
  return post_receive(channel);
}

qg_status qg_channel_send(qg_channel *channel, qg_backend *be, int index, const void *device)
{
  int slot = index % QG_CHANNEL_DEPTH;
  QG_TRY(qg_transfer_wait(channel->transfer[slot]));
  QG_TRY(be->ops->copy_out(be, channel->buffer[slot], device, channel->bytes));
  return qg_transfer_send(channel->transfer[slot], channel->buffer[slot], channel->bytes, channel->peer,
                          channel->tag);
}

qg_status qg_channel_drain(qg_channel *channel)
{
  if (channel->peer < 0) return QG_OK;
  for (int i = 0; i < QG_CHANNEL_DEPTH; i++) QG_TRY(qg_transfer_wait(channel->transfer[i]));
  return QG_OK;
}
