#include "train/channel.h"

#include "qgalore/base.h"

static size_t bytes_of(const qg_channel *channel)
{
  return qg_dtype_bytes(channel->shape.type, channel->shape.elements);
}

static bool has_host_buffers(const qg_channel *channel)
{
  return channel->be->ops->async && !channel->shape.device_pointers;
}

static qg_status create_events(qg_channel *channel, qg_channel_buffer *buffer)
{
  const qg_backend_async_ops *async = channel->be->ops->async;
  if (!async) return QG_OK;
  QG_TRY(async->create_event(channel->be, &buffer->stage_done));
  return has_host_buffers(channel) ? async->create_event(channel->be, &buffer->host_done) : QG_OK;
}

static qg_status create_buffer(qg_mem *mem, qg_par *par, qg_channel *channel, qg_channel_buffer *buffer)
{
  size_t bytes = bytes_of(channel);
  QG_TRY(qg_mem_alloc(mem, QG_OWNER_TRANSFER, "pipeline buffer", bytes, &buffer->device_buffer));
  buffer->mpi_buffer = buffer->device_buffer;
  if (has_host_buffers(channel))
    QG_TRY(qg_mem_alloc_host(mem, QG_OWNER_TRANSFER, "pipeline buffer", bytes, &buffer->mpi_buffer));
  if (!par) return QG_OK;
  QG_TRY(create_events(channel, buffer));
  return qg_transfer_create(par, bytes, &buffer->transfer);
}

qg_status qg_channel_create(qg_mem *mem, qg_par *par, qg_backend *be, const qg_channel_request *request,
                            qg_channel *channel)
{
  *channel = (qg_channel){.shape = *request, .be = be, .next = channel};
  if (request->peer < 0) return QG_OK;
  for (int i = 0; i < QG_CHANNEL_DEPTH; i++) QG_TRY(create_buffer(mem, par, channel, &channel->buffers[i]));
  return QG_OK;
}

void qg_channel_destroy(qg_channel *channel)
{
  for (int i = 0; i < QG_CHANNEL_DEPTH; i++) {
    qg_channel_buffer *buffer = &channel->buffers[i];
    qg_transfer_free(buffer->transfer);
    if (buffer->stage_done) channel->be->ops->async->destroy_event(channel->be, buffer->stage_done);
    if (buffer->host_done) channel->be->ops->async->destroy_event(channel->be, buffer->host_done);
    *buffer = (qg_channel_buffer){0};
  }
}

void qg_channel_join(qg_channel *a, qg_channel *b)
{
  qg_channel *after_a = a->next;
  a->next = b->next;
  b->next = after_a;
}

static qg_channel_buffer *buffer_of(qg_channel *channel, int message)
{
  return &channel->buffers[message % QG_CHANNEL_DEPTH];
}

/* How many messages MPI may know of: sends that were copied, or receives whose buffer is free. */
static int allowed(const qg_channel *channel)
{
  if (channel->shape.peer < 0) return 0;
  if (!channel->shape.receives) return channel->handled;
  return (int)qg_min_i64(channel->messages, channel->handled + QG_CHANNEL_DEPTH);
}

/* The device is done with the buffer that MPI sees. */
static qg_status is_ready(const qg_channel *channel, const qg_channel_buffer *buffer, bool *ready)
{
  qg_event *last = buffer->host_done ? buffer->host_done : buffer->stage_done;
  *ready = true;
  return last ? channel->be->ops->async->query(channel->be, last, ready) : QG_OK;
}

static qg_status start(qg_channel *channel)
{
  const qg_channel_buffer *buffer = buffer_of(channel, channel->started++);
  const qg_channel_request *shape = &channel->shape;
  if (shape->receives)
    return qg_transfer_receive(buffer->transfer, buffer->mpi_buffer, bytes_of(channel), shape->peer,
                               shape->tag);
  return qg_transfer_send(buffer->transfer, buffer->mpi_buffer, bytes_of(channel), shape->peer, shape->tag);
}

/* In the order of the messages, because they share a tag. */
static qg_status start_ready(qg_channel *channel)
{
  bool ready = true;
  while (channel->started < allowed(channel)) {
    QG_TRY(is_ready(channel, buffer_of(channel, channel->started), &ready));
    if (!ready) return QG_OK;
    QG_TRY(start(channel));
  }
  return QG_OK;
}

/* *behind: a channel of the group waits for the device. */
static qg_status progress_all(qg_channel *channel, bool *behind)
{
  qg_channel *each = channel;
  *behind = false;
  do {
    QG_TRY(start_ready(each));
    *behind |= each->started < allowed(each);
    each = each->next;
  } while (each != channel);
  return QG_OK;
}

/* Waits until MPI is done with a message. */
static qg_status wait_for(qg_channel *channel, int message)
{
  qg_transfer *transfer = buffer_of(channel, message)->transfer;
  for (bool behind = true, done = false; !done;) {
    QG_TRY(progress_all(channel, &behind));
    if (!behind) return qg_transfer_wait(transfer);
    if (channel->started > message) QG_TRY(qg_transfer_test(transfer, &done));
  }
  return QG_OK;
}

qg_status qg_channel_begin(qg_channel *channel, int messages)
{
  channel->handled = channel->started = 0;
  channel->messages = messages;
  return start_ready(channel);
}

static qg_status copy(const qg_channel *channel, void *to, const void *from)
{
  const qg_channel_request *shape = &channel->shape;
  return channel->be->ops->convert(channel->be, qg_view_make(to, shape->type, 1, shape->elements),
                                   qg_view_make((void *)from, shape->type, 1, shape->elements));
}

static qg_status record_stage_done(const qg_channel *channel, const qg_channel_buffer *buffer)
{
  return buffer->stage_done ? channel->be->ops->async->record(channel->be, buffer->stage_done) : QG_OK;
}

qg_status qg_channel_receive(qg_channel *channel, void *device)
{
  const qg_channel_buffer *buffer = buffer_of(channel, channel->handled);
  const qg_backend_async_ops *async = channel->be->ops->async;
  QG_CHECK(channel->handled < channel->messages, QG_ERR_RUNTIME, "stage %d sends %d messages a step",
           channel->shape.peer, channel->messages);
  QG_TRY(wait_for(channel, channel->handled));
  if (buffer->host_done) {
    QG_TRY(async->copy_in(channel->be, buffer->device_buffer, buffer->mpi_buffer, bytes_of(channel),
                          buffer->stage_done, buffer->host_done));
    QG_TRY(async->wait_event(channel->be, buffer->host_done));
  }
  QG_TRY(copy(channel, device, buffer->device_buffer));
  QG_TRY(record_stage_done(channel, buffer));
  channel->handled++;
  return start_ready(channel);
}

qg_status qg_channel_send(qg_channel *channel, const void *device)
{
  const qg_channel_buffer *buffer = buffer_of(channel, channel->handled);
  const qg_backend_async_ops *async = channel->be->ops->async;
  int before = channel->handled - QG_CHANNEL_DEPTH;
  if (before >= 0) QG_TRY(wait_for(channel, before));
  QG_TRY(copy(channel, buffer->device_buffer, device));
  QG_TRY(record_stage_done(channel, buffer));
  if (buffer->host_done)
    QG_TRY(async->copy_out(channel->be, buffer->mpi_buffer, buffer->device_buffer, bytes_of(channel),
                           buffer->stage_done, buffer->host_done));
  channel->handled++;
  return start_ready(channel);
}

qg_status qg_channel_drain(qg_channel *channel)
{
  int first = (int)qg_max_i64(0, channel->handled - QG_CHANNEL_DEPTH);
  if (channel->shape.peer < 0) return QG_OK;
  for (int message = first; message < channel->handled; message++) QG_TRY(wait_for(channel, message));
  return QG_OK;
}
