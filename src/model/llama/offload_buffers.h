/* What an activation offload (offload.h) remembers of a stage. */
#ifndef QG_MODEL_LLAMA_OFFLOAD_BUFFERS_H
#define QG_MODEL_LLAMA_OFFLOAD_BUFFERS_H

#include "qgalore/backend.h"

enum { OFFLOAD_BUFFERS = 2 };

typedef struct {
  qg_view view;    /* [tokens, hidden] */
  int slot, index; /* whose input it holds; index 0: nobody's */
  bool moving;     /* a copy from or to it was begun, and nothing waits for it yet */
  qg_event *moved; /* the end of that copy */
} offload_buffer;

typedef struct {
  int count; /* 0: every input stays on the device */
  offload_buffer buffers[OFFLOAD_BUFFERS];
  void **host;      /* [slots][num_layers]; NULL: is never copied */
  size_t bytes;     /* of one input */
  qg_event *before; /* what a copy has to wait for */
} stage_offload;

#endif
