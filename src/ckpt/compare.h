/* Two checkpoints against each other, element by element. All local. */
#ifndef QG_CKPT_COMPARE_H
#define QG_CKPT_COMPARE_H

#include "ckpt/reader.h"

/* How one dataset differs. `name` is valid during the call that reports it. */
typedef struct {
  const char *name;
  enum { QG_CKPT_SAME, QG_CKPT_OTHER_VALUES, QG_CKPT_OTHER_SHAPE, QG_CKPT_ONLY_IN_A, QG_CKPT_ONLY_IN_B } kind;
  int64_t elements, different; /* different: those whose bits differ */
  double largest;              /* absolute difference; NaN if a NaN stands against something else */
} qg_ckpt_difference;

typedef void (*qg_ckpt_reporter)(void *context, const qg_ckpt_difference *difference);

/* Reports each dataset of either file once, those of `a` first, in the order of names. What is read is
 * checked against its checksums: damage is QG_ERR_CHECKPOINT. */
qg_status qg_ckpt_compare(const qg_ckpt_file *a, const qg_ckpt_file *b, qg_ckpt_reporter report,
                          void *context);

#endif
