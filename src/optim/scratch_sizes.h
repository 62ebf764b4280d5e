/* What sinks ask of the scratch of the optimizer, and what of it they share (scratch_layout.h). */
#ifndef QG_OPTIM_SCRATCH_SIZES_H
#define QG_OPTIM_SCRATCH_SIZES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest over the parameters held here, in elements unless said otherwise. Sinks fill it (measure). */
typedef struct {
  int64_t basis, delta, rank, full;
  int64_t formed;     /* of G in memory that all share */
  int64_t fused;      /* of R that all fused ones share */
  size_t dense_bytes; /* of G that all fused ones that are not projected share */
  int64_t implicit_block,
      implicit_count;   /* of implicit gradients: directions times the long side, and the directions */
  int64_t mixed;        /* rows of rotated moments at once */
  int64_t update;       /* rows or elements updated at once */
  int projected;        /* how many */
  int waiting;          /* of these accumulate G and are solved in waves */
  bool head_in_scratch; /* the loss reads a weight from scratch whose gradient accumulates meanwhile */
} qg_scratch_sizes;

static inline void qg_widen(int64_t *largest, int64_t value)
{
  if (value > *largest) *largest = value;
}

/* The gradients that sinks share. */
typedef struct {
  void *formed, *low_rank, *dense;
} qg_shared_gradients;

#endif
