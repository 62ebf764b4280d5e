/* Activation offload: with checkpointing, inputs of layers wait for their backward in host memory.
 *
 * The first layer's input is the stage's own and stays on the device, one for each slot. Those of all other
 * layers pass through `count` device buffers in turn, input i through buffer i % count:
 *
 *   forward    layer i reads buffer i, which is copied out meanwhile, and writes buffer i + 1
 *   backward   layer i reads buffer i, while input i - 1 is copied into its buffer
 *
 * An input that nothing displaces before its backward stays in its buffer and is not copied. */
#ifndef QGALORE_MODEL_OFFLOAD_H
#define QGALORE_MODEL_OFFLOAD_H

#include "model/llama/stage_private.h"

/* All calls are local and none waits. Without buffers, and for an index outside [1, num_layers), they do
 * nothing. */

/* Buffers and host memory from the ledger, dry or live. */
qg_status qg_offload_take(qg_llama_stage *stage, qg_mem *mem);
/* The buffer that the input of layer `index` passes through; NULL: it has its own memory. */
const qg_view *qg_offload_view(const qg_llama_stage *stage, int index);
/* Events, once, live. */
qg_status qg_offload_init(qg_llama_stage *stage);
void qg_offload_close(qg_llama_stage *stage);

/* Forward: the input of layer `index` will be written next. */
qg_status qg_offload_make_room(qg_llama_stage *stage, int slot, int index);
/* Forward: it is complete, and goes to the host if it has to make room later. */
qg_status qg_offload_keep(qg_llama_stage *stage, int slot, int index);
/* Backward: it will be read; its copy begins behind everything queued so far. */
qg_status qg_offload_fetch(qg_llama_stage *stage, int slot, int index);
/* Backward: it is read next. */
qg_status qg_offload_await(qg_llama_stage *stage, int slot, int index);

#endif
