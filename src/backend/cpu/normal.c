#include "qgalore/backend/host.h"

#include <stdalign.h>
#include <string.h>

#include "backend/cpu/isa/normal_kernels.h"
#include "qgalore/base.h"
#include "qgalore/numerics/quant_groups.h"

void qg_normal_fill(qg_rng rng, float deviation, int64_t first, int64_t count, int threads, float *out)
{
  const qg_normal_kernels *kernels = QG_ISA_SELECT(qg_normal_kernels);
  int64_t whole = count - count % QG_GROUP;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < whole; i += QG_GROUP)
    kernels->group(rng, deviation, (uint64_t)(first + i), out + i);
  if (whole == count) return;
  alignas(64) float rest[QG_GROUP];
  kernels->group(rng, deviation, (uint64_t)(first + whole), rest);
  memcpy(out + whole, rest, (size_t)(count - whole) * sizeof *rest);
}
