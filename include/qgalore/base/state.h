/* Named state: how modules offer their data to checkpoints without knowing files, and checkpoints write
 * it without knowing modules. */
#ifndef QGALORE_BASE_STATE_H
#define QGALORE_BASE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "qgalore/base/status.h"
#include "qgalore/base/view.h"

/* One item of a dataset. Items of the same dataset have the same type and dims and become its first dimension:
 * dataset "weights/self_attn.q_proj/codes", type u8, items = num_layers, dims [hidden * hidden] is stored as u8
 * [num_layers, hidden * hidden]. */
typedef struct {
  char dataset[96];   /* path inside the checkpoint, '/' separated */
  qg_dtype type;      /* QG_U4 is stored as its packed bytes (u8) */
  int64_t items;      /* first dimension of the dataset */
  int64_t item;       /* which one this is */
  int64_t elements;   /* elements per item (of `type`; QG_U4: nibbles) */
  void *data;         /* NULL: another rank's */
  bool on_device;     /* data is a device pointer of the backend, else host */
  bool owner;         /* this rank writes it (a tied embedding is held twice but written once) */
} qg_state_entry;

/* A list that modules append to. Every rank appends the same entries in the same order, of what it does not hold too. */
typedef struct {
  qg_state_entry *entries; /* [count]; freed by the list's owner */
  int count, capacity;
} qg_state_list;

/* Appends an entry with the dataset "GROUP/MODULE/FIELD". QG_ERR_RESOURCE without memory. */
qg_status qg_state_append(qg_state_list *list, const char *group, const char *module, const char *field,
                          const qg_state_entry *entry);

#endif
