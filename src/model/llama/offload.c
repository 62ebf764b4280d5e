/* Two orders keep the copies right. A buffer is overwritten only after the queue was made to wait for the
 * copy from it (settle); so whatever is queued after that comes after the copy, and a later copy of the same
 * input back, which begins behind the queue, finds it on the host. And that copy overwrites a buffer whose
 * readers are in the queue before it. */
#include "model/llama/offload.h"

#include <stdlib.h>

#include "qgalore/base.h"

/* No more than would be kept on the device without. */
static int count_buffers(const qg_llama_stage *stage)
{
  const qg_stage_options *options = &stage->options;
  int inner = stage->part.num_layers - 1, count = inner < OFFLOAD_BUFFERS ? inner : OFFLOAD_BUFFERS;
  if (!options->offload || !options->checkpointing || !stage->be->ops->async) return 0;
  return options->slots * inner > count ? count : 0;
}

static bool passes(const qg_llama_stage *stage, int index)
{
  return stage->offload.count > 0 && index >= 1 && index < stage->part.num_layers;
}

/* Another input takes its buffer before its backward: of a later layer, or of another slot. */
static bool is_displaced(const qg_llama_stage *stage, int index)
{
  return stage->options.slots > 1 || index + stage->offload.count < stage->part.num_layers;
}

static int place_of(const qg_llama_stage *stage, int index)
{
  return index % stage->offload.count;
}

static offload_buffer *buffer_of(qg_llama_stage *stage, int index)
{
  return &stage->offload.buffers[place_of(stage, index)];
}

static void **host_of(qg_llama_stage *stage, int slot, int index)
{
  return &stage->offload.host[slot * stage->part.num_layers + index];
}

static qg_status take_buffers(qg_llama_stage *stage, qg_mem *mem)
{
  for (int i = 0; i < stage->offload.count; i++)
    QG_TRY(qg_mem_view(mem, QG_OWNER_ACTIVATIONS, "inputs of layers in turn", stage->be->compute,
                       stage->tokens, stage->shape.hidden_size, &stage->offload.buffers[i].view));
  return QG_OK;
}

qg_status qg_offload_take(qg_llama_stage *stage, qg_mem *mem)
{
  stage_offload *offload = &stage->offload;
  int layers = stage->part.num_layers, slots = stage->options.slots;
  offload->count = count_buffers(stage);
  if (offload->count == 0) return QG_OK;
  offload->bytes = qg_dtype_bytes(stage->be->compute, stage->tokens * stage->shape.hidden_size);
  QG_TRY(qg_calloc((size_t)(slots * layers), sizeof *offload->host, "inputs of layers on the host",
                   (void **)&offload->host));
  QG_TRY(take_buffers(stage, mem));
  for (int slot = 0; slot < slots; slot++) {
    for (int i = 1; i < layers; i++) {
      if (!is_displaced(stage, i)) continue;
      QG_TRY(qg_mem_alloc_host(mem, QG_OWNER_ACTIVATIONS, "input of a layer on the host", offload->bytes,
                               host_of(stage, slot, i)));
    }
  }
  return QG_OK;
}

const qg_view *qg_offload_view(const qg_llama_stage *stage, int index)
{
  return passes(stage, index) ? &stage->offload.buffers[place_of(stage, index)].view : NULL;
}

qg_status qg_offload_init(qg_llama_stage *stage)
{
  stage_offload *offload = &stage->offload;
  if (offload->count == 0) return QG_OK;
  const qg_backend_async_ops *async = stage->be->ops->async;
  for (int i = 0; i < offload->count; i++) QG_TRY(async->create_event(stage->be, &offload->buffers[i].moved));
  return async->create_event(stage->be, &offload->before);
}

void qg_offload_close(qg_llama_stage *stage)
{
  stage_offload *offload = &stage->offload;
  free(offload->host);
  for (int i = 0; i < offload->count; i++)
    stage->be->ops->async->destroy_event(stage->be, offload->buffers[i].moved);
  if (offload->before) stage->be->ops->async->destroy_event(stage->be, offload->before);
}

static qg_status settle(qg_llama_stage *stage, offload_buffer *buffer)
{
  if (!buffer->moving) return QG_OK;
  buffer->moving = false;
  return stage->be->ops->async->wait_event(stage->be, buffer->moved);
}

static qg_status displace(qg_llama_stage *stage, offload_buffer *buffer, int slot, int index)
{
  QG_TRY(settle(stage, buffer));
  buffer->slot = slot;
  buffer->index = index;
  return QG_OK;
}

qg_status qg_offload_make_room(qg_llama_stage *stage, int slot, int index)
{
  return passes(stage, index) ? displace(stage, buffer_of(stage, index), slot, index) : QG_OK;
}

qg_status qg_offload_keep(qg_llama_stage *stage, int slot, int index)
{
  if (!passes(stage, index) || !is_displaced(stage, index)) return QG_OK;
  const qg_backend_async_ops *async = stage->be->ops->async;
  stage_offload *offload = &stage->offload;
  offload_buffer *from = buffer_of(stage, index);
  QG_TRY(async->record(stage->be, offload->before));
  QG_TRY(async->copy_out(stage->be, *host_of(stage, slot, index), from->view.data, offload->bytes,
                         offload->before, from->moved));
  from->moving = true;
  return QG_OK;
}

qg_status qg_offload_fetch(qg_llama_stage *stage, int slot, int index)
{
  if (!passes(stage, index)) return QG_OK;
  const qg_backend_async_ops *async = stage->be->ops->async;
  stage_offload *offload = &stage->offload;
  offload_buffer *to = buffer_of(stage, index);
  if (to->slot == slot && to->index == index) return QG_OK;
  QG_TRY(displace(stage, to, slot, index));
  QG_TRY(async->record(stage->be, offload->before));
  QG_TRY(async->copy_in(stage->be, to->view.data, *host_of(stage, slot, index), offload->bytes,
                        offload->before, to->moved));
  to->moving = true;
  return QG_OK;
}

qg_status qg_offload_await(qg_llama_stage *stage, int slot, int index)
{
  QG_TRY(qg_offload_fetch(stage, slot, index));
  return passes(stage, index) ? settle(stage, buffer_of(stage, index)) : QG_OK;
}
