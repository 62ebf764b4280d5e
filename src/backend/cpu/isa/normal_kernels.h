/* Normal numbers, a group at a time, with the bits of backend/cpu/normal.h on every level. */
#ifndef QG_BACKEND_CPU_NORMAL_KERNELS_H
#define QG_BACKEND_CPU_NORMAL_KERNELS_H

#include "backend/cpu/isa.h"
#include "qgalore/numerics/philox.h"

typedef struct {
  /* The QG_GROUP elements from `first` on, a multiple of QG_GROUP. */
  void (*group)(qg_rng rng, float deviation, uint64_t first, float *out);
} qg_normal_kernels;

QG_ISA_DECLARE(qg_normal_kernels, qg_normal_kernels);

#endif
